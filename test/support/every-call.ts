/**
 * Runs a scenario once for each call that it makes on the disk and each thing that can go wrong there, and looks afterwards, on a sound disk, at
 * what is left: nothing acknowledged is lost, nothing damaged is served, and what was written can be opened. Exhaustive over calls, not sampled.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Cut, type DiskCall, type Fate, FaultyDisk } from './faulty-disk.ts'
import { seededRng } from './seeded-rng.ts'

/** What a run was told: only that counts which was told before the process died. */
export class Told<T> {
  readonly #disk: FaultyDisk
  readonly values: T[] = []

  constructor(disk: FaultyDisk) {
    this.#disk = disk
  }

  /** Notes that `value` was acknowledged. */
  note(value: T): void {
    if (!this.#disk.dead) this.values.push(value)
  }

  /** Runs a step and notes `value` if it succeeds. An error must be one that a person can do something about: `accept`. */
  async step(value: T, run: () => Promise<unknown>): Promise<boolean> {
    try {
      await run()
    } catch (error) {
      this.judge(error)
      return false
    }
    this.note(value)
    return true
  }

  /** Throws on unless `error` is told in our own words, or the process is dead. */
  judge(error: unknown): void {
    if (this.#disk.dead) return
    const code = error instanceof Error && 'kind' in error && 'code' in error ? error.code : null
    if (code === null) throw error
  }
}

export interface Scenario<T> {
  /** Makes what is there before, once. */
  readonly prepare?: (dir: string) => Promise<void>
  /** Opens, changes, closes; notes what it was told. It must come to its end whatever fails. */
  readonly run: (dir: string, told: Told<T>) => Promise<void>
  /** Opens `dir` on a sound disk and compares. `kept`: acknowledged changes may not be lost (else only nothing wrong may be there). */
  readonly check: (dir: string, told: readonly T[], kept: boolean) => Promise<void>
  /** Whether what was acknowledged survives a power cut as well. */
  readonly survivesPowerCut: boolean
  /** At most so many calls get all faults; others are passed over evenly. Without: all. */
  readonly callsMax?: number
}

interface Trouble {
  readonly title: string
  /** Whether it makes a difference for a call that changes nothing. */
  readonly anyCall?: boolean
  readonly fate: (call: DiskCall, at: number) => Fate
  readonly cut?: Cut
}

const only =
  (fate: Fate): Trouble['fate'] =>
  ({ number }, at) =>
    number === at ? fate : 'pass'

export const TROUBLES: readonly Trouble[] = [
  { title: 'fails once (EIO)', fate: only({ fail: 'EIO' }), anyCall: true },
  { title: 'fails once, a part written (ENOSPC)', fate: only({ fail: 'ENOSPC', part: 0.4 }) },
  { title: 'is full from here on', fate: ({ number, changes }, at) => (number >= at && changes ? { fail: 'ENOSPC' } : 'pass') },
  {
    title: 'is read-only from here on',
    fate: ({ number, changes }, at) => (number >= at && changes ? { fail: 'EROFS' } : 'pass'),
  },
  { title: 'dies before it', fate: only({ die: 'before' }) },
  { title: 'dies in the middle of it', fate: only({ die: 'before', part: 0.6 }) },
  { title: 'dies after it', fate: only({ die: 'after' }) },
  ...(['nothing', 'names', 'bytes', 'some'] as const).map(
    (cut): Trouble => ({ title: `loses power after it, ${cut} kept`, fate: only({ die: 'after' }), cut }),
  ),
]

/** Where folders that are made thousands of times cost least. */
const FAST = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

/** Runs `scenario` as said above. Throws for the first call and trouble that it does not bear. Returns how many runs there were. */
export async function atEveryCall<T>(t: TestContext, scenario: Scenario<T>): Promise<number> {
  const root = mkdtempSync(join(FAST, 'gyre-disk-'))
  t.after(() => rmSync(root, { recursive: true, force: true }))
  const before = join(root, 'before')
  mkdirSync(before, { mode: 0o700 })
  await scenario.prepare?.(before)
  const calls = await runOnce(scenario, root, before, { title: 'short', fate: () => 'short' }, 0)
  const sound = await runOnce(scenario, root, before, { title: 'sound', fate: () => 'pass' }, 0)
  let runs = 2
  const step = Math.max(1, Math.ceil(sound.length / (scenario.callsMax ?? Number.POSITIVE_INFINITY)))
  for (const trouble of TROUBLES) {
    for (let at = 1; at <= sound.length; at += step) {
      if (trouble.anyCall !== true && !sound[at - 1]!.changes) continue
      await runOnce(scenario, root, before, trouble, at)
      runs++
    }
  }
  t.diagnostic(`${sound.length} calls (${calls.length} when each does half), ${runs} runs`)
  return runs
}

async function runOnce<T>(
  scenario: Scenario<T>,
  root: string,
  before: string,
  { title, fate, cut }: Trouble,
  at: number,
): Promise<readonly DiskCall[]> {
  const dir = join(root, 'now')
  const after = join(root, 'after')
  for (const path of [dir, after]) rmSync(path, { recursive: true, force: true })
  cpSync(before, dir, { recursive: true })
  const disk = new FaultyDisk(dir)
  const told = new Told<T>(disk)
  disk.plan = (call) => fate(call, at)
  disk.install()
  try {
    await scenario.run(dir, told)
    if (at === 0 && told.values.length === 0) throw new Error('nothing was acknowledged on a sound disk')
  } catch (error) {
    throw inTrouble(disk, title, at, error)
  } finally {
    await disk.uninstall()
  }
  try {
    if (cut === undefined) {
      await scenario.check(dir, told.values, true)
    } else {
      disk.cutInto(after, cut, seededRng(`${title} ${at}`))
      await scenario.check(after, told.values, scenario.survivesPowerCut)
    }
  } catch (error) {
    throw inTrouble(disk, title, at, error)
  }
  return disk.calls
}

function inTrouble(disk: FaultyDisk, title: string, at: number, cause: unknown): Error {
  const call = disk.calls[at - 1]
  const which = call === undefined ? 'no call' : `call ${at}, ${call.name} ${call.path.split('/').slice(-2).join('/')}`
  const why = cause instanceof Error ? cause.message : String(cause)
  return new Error(`The disk ${title}: ${which}: ${why}`, { cause })
}
