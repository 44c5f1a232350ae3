/**
 * A restore that happens whole or not at all, whatever is killed when. All files are written to DIR/restore.new first, with the plan of what goes
 * where; renaming that folder to DIR/restore is the one moment from which the restore counts. Then each file moves to its place. Who finds
 * DIR/restore goes on moving; who finds DIR/restore.new throws it away: `finishRestore`, before anything else is read from a data folder.
 */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { syncFolder, writeAtomically } from '../../src/directory/index.ts'
import { diskFailure } from '../../src/errors/disk.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { kindOf } from './contents.ts'
import { ENTRIES_MAX } from './entries.ts'

const STAGING = 'restore.new'
const STAGED = 'restore'
const PLAN = 'plan'

interface Plan {
  /** Names in the data folder; number n of the staged files goes to the n-th. */
  readonly put: readonly string[]
  readonly remove: readonly string[]
}

/** A restore that is being prepared. */
export class Staging {
  readonly #dataDir: string
  readonly #put: string[] = []
  readonly #remove: string[] = []

  private constructor(dataDir: string) {
    this.#dataDir = dataDir
  }

  /** The folder must be held, and `finishRestore` done. Errors: the system's. */
  static async begin(dataDir: string): Promise<Staging> {
    await mkdir(join(dataDir, STAGING), { mode: 0o700 })
    return new Staging(dataDir)
  }

  /** Changes that were staged. */
  get size(): number {
    return this.#put.length + this.#remove.length
  }

  /** Puts `bytes` at `name`, once it counts. */
  async put(name: string, bytes: Uint8Array): Promise<void> {
    const file = await open(join(this.#dataDir, STAGING, String(this.#put.length)), 'wx', 0o600)
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    this.#put.push(name)
  }

  /** Removes what is at `name`, once it counts. */
  remove(name: string): void {
    this.#remove.push(name)
  }

  /** Makes it count, and does it. */
  async commit(): Promise<void> {
    const plan: Plan = { put: this.#put, remove: this.#remove }
    await writeAtomically(join(this.#dataDir, STAGING, PLAN), [JSON.stringify(plan)])
    await rename(join(this.#dataDir, STAGING), join(this.#dataDir, STAGED))
    await syncFolder(this.#dataDir)
    await finishRestore(this.#dataDir)
  }

  /** Throws it away. */
  async drop(): Promise<void> {
    await rm(join(this.#dataDir, STAGING), { recursive: true, force: true })
  }
}

/**
 * Ends a restore that was broken off: forwards if it counted, else back. The folder must be held. Errors: `DATA_DIR_UNUSABLE`; then nothing in
 * the folder may be used, and the next call goes on.
 */
export async function finishRestore(dataDir: string): Promise<void> {
  const staged = join(dataDir, STAGED)
  try {
    const plan = await readPlan(join(staged, PLAN))
    if (plan !== null) await carryOut(dataDir, plan)
    await rm(staged, { recursive: true, force: true })
    await rm(join(dataDir, STAGING), { recursive: true, force: true })
  } catch (error) {
    throw diskFailure(`${dataDir}, into which a backup was imported,`, error)
  }
}

async function carryOut(dataDir: string, { put, remove }: Plan): Promise<void> {
  const folders = new Set<string>([dataDir])
  for (const name of put) {
    const folder = dirname(join(dataDir, name))
    if (folders.has(folder)) continue
    await mkdir(folder, { recursive: true, mode: 0o700 })
    folders.add(folder)
  }
  for (const name of remove) await rm(join(dataDir, name), { force: true })
  for (const [number, name] of put.entries()) {
    try {
      await rename(join(dataDir, STAGED, String(number)), join(dataDir, name))
    } catch (error) {
      // Moved before the restore was broken off.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  for (const folder of folders) await syncFolder(folder)
  // From here on nothing of it is needed: what is left of the folder is no restore any more.
  await rm(join(dataDir, STAGED, PLAN))
  await syncFolder(join(dataDir, STAGED))
}

/** The plan, `null` if there is none. Written whole, by this program alone, under a lock: what is not right is damage to the disk. */
async function readPlan(path: string): Promise<Plan | null> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  const plan = planOf(text)
  if (plan !== null) return plan
  throw new OverlayError('config', 'DATA_DIR_UNUSABLE', `${path} is damaged: remove its folder and import the backup again.`)
}

function planOf(text: string): Plan | null {
  let raw: Partial<Record<keyof Plan, unknown>> | null
  try {
    raw = JSON.parse(text)
  } catch {
    return null
  }
  const put = raw?.put
  const remove = raw?.remove
  return areNames(put) && areNames(remove) ? { put, remove } : null
}

function areNames(list: unknown): list is readonly string[] {
  if (!Array.isArray(list) || list.length > ENTRIES_MAX) return false
  return list.every((name) => typeof name === 'string' && kindOf(name) !== null)
}
