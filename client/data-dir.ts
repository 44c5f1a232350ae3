/**
 * The data folder of a node: made with mode 0700, and held by one process at a time. Two processes with one identity would undo each
 * other's descriptors and could give one circuit's keys two histories.
 *
 * The lock is a file that says which process holds it: pid, that process's start time and the machine's boot id, so that neither a reused
 * pid nor a restart of the machine passes for the holder. A lock whose holder is gone (`kill -9`) is taken over. Taking over is a race
 * between starters, so whoever has put its file in place looks once more, a moment later, whether it is still there.
 */
import { link, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder } from '../src/directory/index.ts'
import { diskFailure } from '../src/errors/disk.ts'
import { OverlayError } from '../src/errors/index.ts'
import type { Clock, Rng } from '../src/runtime/index.ts'

// Implementation constants.
const LOCK_FILE = 'lock'
const ATTEMPTS_MAX = 5
/** How long a rival needs to notice that it moved a lock that was alive, and to put it back. */
const SECOND_LOOK_MS = 20
const LEFTOVER = /^lock\.[0-9a-f]{16}(?:\.old)?$/
const LEFTOVER_MS = 60_000
const UNWRITABLE: ReadonlySet<unknown> = new Set(['EROFS', 'EACCES', 'EPERM'])

interface Holder {
  readonly pid: number
  /** Clock ticks since boot at which the process began; empty where the system does not say. */
  readonly started: string
  readonly boot: string
}

export interface HeldDataDir {
  readonly path: string
  /** `false`: on a read-only disk, held for reading only. */
  readonly writable: boolean
  /** Gives the folder free. Idempotent. */
  release(): Promise<void>
}

export interface DataDirTools {
  readonly clock: Pick<Clock, 'sleep'>
  readonly rng: Rng
  readonly signal: AbortSignal
  /** To `read` a folder that cannot be written is no error, if nobody holds it: a backup of a failing disk is made from one. */
  readonly purpose?: 'read' | 'write'
}

/** Makes `path` if need be and holds it for this process. Errors: `DATA_DIR_LOCKED`, `DATA_DIR_UNUSABLE`. */
export async function holdDataDir(path: string, { clock, rng, signal, purpose = 'write' }: DataDirTools): Promise<HeldDataDir> {
  const lock = join(path, LOCK_FILE)
  const nonce = Buffer.from(rng.bytes(8)).toString('hex')
  const mine = `${JSON.stringify({ ...(await holderOf(process.pid)), nonce })}\n`
  try {
    await makeFolder(path)
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      if (!(await putInPlace(lock, mine, nonce))) {
        await clearIfDead(lock, path, nonce)
        continue
      }
      await clock.sleep(SECOND_LOOK_MS, { signal })
      if ((await read(lock)) !== mine) continue
      await sweep(path, lock)
      return { path, writable: true, release: () => release(lock, mine) }
    }
  } catch (error) {
    await release(lock, mine) // when stopped during the second look
    if (purpose === 'read' && UNWRITABLE.has((error as NodeJS.ErrnoException).code)) return heldForReading(path, lock)
    throw signal.aborted ? error : diskFailure(`The data folder ${path}`, error)
  }
  throw locked(path, (await read(lock).catch(() => null)) ?? '')
}

/** Where nobody can write, no lock can be put, and no node can start. One that ran before may still run. */
async function heldForReading(path: string, lock: string): Promise<HeldDataDir> {
  const text = await read(lock)
  if (text !== null && (await isAlive(text))) throw locked(path, text)
  return { path, writable: false, release: async () => {} }
}

/** Removes what starters that were killed in the middle of their start left: a loop of crashes must not fill the folder. */
async function sweep(path: string, lock: string): Promise<void> {
  const leftovers = (await readdir(path)).filter((name) => LEFTOVER.test(name))
  if (leftovers.length === 0) return
  // By the disk's own clock. A younger one may be of a starter that is about to find the folder taken.
  const { mtimeMs: now } = await stat(lock)
  for (const name of leftovers) {
    const file = join(path, name)
    const age = await stat(file).then(
      ({ mtimeMs }) => now - mtimeMs,
      () => 0, // gone
    )
    if (age > LEFTOVER_MS) await rm(file, { force: true })
  }
}

/** `text`: the lock, which says whose it is unless it has gone meanwhile. */
function locked(path: string, text: string): OverlayError {
  const holder = parseHolder(text)
  const who = holder === null ? '' : ` (process ${holder.pid})`
  return new OverlayError('config', 'DATA_DIR_LOCKED', `The data folder ${path} is in use by another node${who}.`)
}

/** Puts `text` at `lock`, whole, unless something is there. */
async function putInPlace(lock: string, text: string, nonce: string): Promise<boolean> {
  const own = `${lock}.${nonce}`
  await writeFile(own, text, { mode: 0o600 })
  try {
    await link(own, lock)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    await rm(own, { force: true })
  }
}

/** Removes a lock whose holder is gone. Errors: `DATA_DIR_LOCKED` if it is alive. */
async function clearIfDead(lock: string, path: string, nonce: string): Promise<void> {
  const text = await read(lock)
  if (text === null) return
  if (await isAlive(text)) throw locked(path, text)
  const aside = `${lock}.${nonce}.old`
  try {
    await rename(lock, aside)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return // somebody else cleared it
    throw error
  }
  try {
    // Between the look and the move somebody may have taken the folder: then it was that one's lock that moved. Back with it.
    if ((await read(aside)) !== text) await link(aside, lock).catch(() => {})
  } finally {
    await rm(aside, { force: true })
  }
}

/** Never fails: a lock that stays is taken over, for its holder is gone. */
async function release(lock: string, mine: string): Promise<void> {
  try {
    if ((await read(lock)) === mine) await rm(lock, { force: true })
  } catch {
    // as said
  }
}

async function read(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

/** Who wrote a lock. `null`: it is none; locks are put in place whole. */
function parseHolder(text: string): (Partial<Holder> & Pick<Holder, 'pid'>) | null {
  let holder: Partial<Holder>
  try {
    holder = JSON.parse(text)
  } catch {
    return null
  }
  const { pid } = holder ?? {}
  return typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 0 ? { ...holder, pid } : null
}

/** Whether the process that wrote this lock is still there. A lock that cannot be read belongs to nobody. */
async function isAlive(text: string): Promise<boolean> {
  const holder = parseHolder(text)
  if (holder === null) return false
  const now = await holderOf(holder.pid)
  if (now.boot !== holder.boot) return false
  if (now.started !== '' && holder.started !== '' && now.started !== holder.started) return false
  try {
    process.kill(holder.pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** What the system says of a process. Start time: field 22 of /proc/PID/stat (proc(5)), after the last parenthesis of the name. */
async function holderOf(pid: number): Promise<Holder> {
  const fields = await read(`/proc/${pid}/stat`).catch(() => null)
  const boot = await read('/proc/sys/kernel/random/boot_id').catch(() => null)
  const started = fields?.slice(fields.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  return { pid, started, boot: boot?.trim() ?? '' }
}

/** Whether group or others may read the file. */
export async function isExposed(path: string): Promise<boolean> {
  return process.platform !== 'win32' && ((await stat(path)).mode & 0o077) !== 0
}
