/**
 * One node per data folder: two would write the same identity, store and token. The lock is a file with the process id and its start
 * time, so that a lock left by a killed node is told from a living one even when the id was given out again (in a container, the node is
 * process 1 every time).
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { OverlayError } from '../../src/errors/index.ts'

const LOCK_FILE = 'node.lock'

/** Takes the lock of `dataDir`, which is made if absent (mode 0700); returns its release. Errors: `NODE_BUSY`, `FILE_FAILED`. */
export function lockDataDir(dataDir: string): () => void {
  const path = join(dataDir, LOCK_FILE)
  const mine = `${process.pid} ${startOf(process.pid) ?? '-'}\n`
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    for (let attempt = 0; ; attempt++) {
      try {
        writeFileSync(path, mine, { flag: 'wx', mode: 0o600 })
        return () => {
          if (readLock(path) === mine) rmSync(path, { force: true })
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
        const held = readLock(path)
        if (attempt >= 3 || (held !== null && isHeld(held, mine))) {
          throw new OverlayError('config', 'NODE_BUSY', `Another node runs in ${dataDir}.`)
        }
        rmSync(path, { force: true })
      }
    }
  } catch (error) {
    if (error instanceof OverlayError) throw error
    const why = (error as NodeJS.ErrnoException).code ?? 'unknown cause'
    throw new OverlayError('config', 'FILE_FAILED', `The data folder ${dataDir} cannot be used (${why}).`, error)
  }
}

function readLock(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null // gone since, or not ours to read: then taking it fails and says why
  }
}

/** Whether the process that wrote `held` is alive. A lock that names this very process was left by its predecessor of the same id. */
function isHeld(held: string, mine: string): boolean {
  const parts = /^(\d{1,10}) (\S{1,32})\n$/.exec(held)
  if (parts === null || held === mine) return false
  const pid = Number(parts[1])
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  const start = startOf(pid)
  return start === null || parts[2] === '-' || start === parts[2]
}

/** When process `pid` started, in the system's own unit; `null` where the system does not say. */
function startOf(pid: number): string | null {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')
    return fields?.[19] ?? null
  } catch {
    return null
  }
}
