/**
 * Puts a faulty disk under a node process (`node --import`): what is below FAULTY_ROOT fails as the file FAULTY_CONTROL says at that moment, with the error
 * code that stands in it, for every call that would change something; without the file, or with an empty one, all is well.
 */
import { readFileSync } from 'node:fs'
import { type DiskErrorCode, FaultyDisk } from './faulty-disk.ts'

const root = process.env.FAULTY_ROOT ?? ''
const control = process.env.FAULTY_CONTROL ?? ''

function codeNow(): string {
  try {
    return readFileSync(control, 'utf8').trim()
  } catch {
    return ''
  }
}

const disk = new FaultyDisk(root)
disk.plan = ({ changes }) => {
  const code = changes ? codeNow() : ''
  return code === '' ? 'pass' : { fail: code as DiskErrorCode }
}
disk.install()
