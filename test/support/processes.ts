/** Child processes for tests: run one to its end, and tell whether one lives. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../src/runtime/index.ts'

export const MAIN = fileURLToPath(new URL('../../client/cli/main.ts', import.meta.url))
export const FAKE_MAIN = fileURLToPath(new URL('./fake-main.ts', import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: Buffer
  readonly stderr: string
}

/** Runs `command` with `args` to its end. `input`: its standard input. */
export function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}, input?: Uint8Array): Promise<Ended> {
  const { promise, resolve, reject } = Promise.withResolvers<Ended>()
  const { PATH, HOME, TMPDIR } = process.env
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { PATH, HOME, TMPDIR, ...env } })
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  child.on('error', reject)
  child.on('close', (code, signal) =>
    resolve({ code, signal, stdout: Buffer.concat(out), stderr: Buffer.concat(err).toString() }),
  )
  return promise
}

/** Runs `gyre ARGS`. */
export function gyre(args: readonly string[], env: NodeJS.ProcessEnv = {}, input?: Uint8Array): Promise<Ended> {
  return run(process.execPath, [MAIN, ...args], env, input)
}

/** Whether process `pid` runs. A zombie that nobody has reaped yet does not. */
export function lives(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  try {
    return !/^\d+ \(.*\) Z /s.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return !existsSync('/proc/self/stat')
  }
}

/** Waits until `check` holds; throws after `ms`. */
export async function eventually(what: string, check: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  const { signal } = new AbortController()
  const keepAlive = new BroadcastChannel('eventually')
  try {
    for (const end = systemClock.monotonicMs() + ms; systemClock.monotonicMs() < end; ) {
      if (await check()) return
      await systemClock.sleep(20, { signal })
    }
    throw new Error(`Not so after ${ms} ms: ${what}`)
  } finally {
    keepAlive.close()
  }
}

/**
 * Runs `script` with `args` as a child that says when it has begun to write, kills it `afterMs` after that, and gives the lines that it had noted in
 * the file `notes` (and takes the file away): a pipe could be full, and what is acknowledged is not to wait for its reader.
 */
export async function notedUntilKilled(
  script: string,
  args: readonly string[],
  notes: string,
  afterMs: number,
): Promise<string[]> {
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'close')
  child.stdout.once('data', () => void systemClock.setTimer(afterMs, () => child.kill('SIGKILL')))
  await ended
  if (child.signalCode !== 'SIGKILL') throw new Error(`the child ended before: ${child.signalCode ?? child.exitCode}`)
  const lines = readFileSync(notes, 'latin1').split('\n').slice(0, -1)
  rmSync(notes)
  return lines
}
