/** `node --import` of this file: every message that the process reads in clear is a line in a file of its own in the folder that MESSAGES_DIR names. */
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { watchMessages } from './messages.ts'

const dir = process.env.MESSAGES_DIR
if (dir !== undefined) {
  const file = join(dir, String(process.pid))
  watchMessages((where, bytes) => appendFileSync(file, `${where} ${Buffer.from(bytes).toString('base64')}\n`))
}
