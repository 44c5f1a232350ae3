/**
 * One node process of a test network: started with `gyre start --supervised`, which prints where it listens as one line of JSON and ends
 * when its standard input does. That pipe is what makes a node die with its parent, however the parent died (`kill -9` included).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { OverlayError } from '../../src/errors/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import type { Listening } from '../cli/start.ts'

// Implementation constants.
/** A node that was told to stop is killed after so long; its own limit is a second less. */
const STOP_WAIT_MS = 6_000
/** Lines of standard error kept for the message when a node dies. */
const TAIL_LINES = 12

/**
 * How a node is run (also in package.json, gyre.mjs and the Dockerfile): shares lie outside V8's heap, and with its usual 16 MiB of young
 * space they are freed late, by full collections. With 4 MiB a node is 25 MiB smaller and spends a tenth less on publishing.
 */
const NODE_FLAGS = ['--max-semi-space-size=4']

export interface ChildOptions {
  readonly clock: Clock
  /** Script that stands for `client/cli/main.ts`. */
  readonly entry: string
  readonly flags: readonly string[]
  readonly env: NodeJS.ProcessEnv
  /** Each line that the node writes to standard error. */
  readonly onLine: (line: string) => void
  /** Called when the node ended without having been told to. */
  readonly onDeath: (how: string) => void
}

export class NodeProcess {
  readonly pid: number
  /** Settles when the node listens. Errors: `NODE_UNREACHABLE` with the last lines it wrote. */
  readonly listening: Promise<Listening>
  readonly #child: ChildProcess
  readonly #clock: Clock
  readonly #ended: Promise<void>
  #alive = true
  #stopping = false

  constructor({ clock, entry, flags, env, onLine, onDeath }: ChildOptions) {
    const child = spawn(process.execPath, [...NODE_FLAGS, entry, 'start', '--supervised', ...flags], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env,
    })
    this.#child = child
    this.#clock = clock
    this.pid = child.pid ?? 0
    const tail: string[] = []
    createInterface({ input: child.stderr }).on('line', (line) => {
      tail.push(line)
      if (tail.length > TAIL_LINES) tail.shift()
      onLine(line)
    })
    child.stdin.on('error', () => {})

    const { promise, resolve, reject } = Promise.withResolvers<Listening>()
    this.listening = promise
    promise.catch(() => {}) // who waits sees it; a stop in between is nobody's error
    createInterface({ input: child.stdout }).once('line', (line) => resolve(JSON.parse(line) as Listening))
    const ended = Promise.withResolvers<void>()
    this.#ended = ended.promise
    const onEnd = (how: string) => {
      this.#alive = false
      reject(
        new OverlayError(
          'unreachable',
          'NODE_UNREACHABLE',
          `A node ended at its start (${how}). Its last words:\n${tail.join('\n')}`,
        ),
      )
      ended.resolve()
      if (!this.#stopping) onDeath(how)
    }
    child.once('error', (error: NodeJS.ErrnoException) => onEnd(error.code ?? 'cannot be run'))
    // `close`, not `exit`: the last lines have been read by then.
    child.once('close', (code, signal) => onEnd(signal ?? `exit code ${code}`))
  }

  get alive(): boolean {
    return this.#alive
  }

  /** Tells the node to stop, kills it if it does not, and waits for its end. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping = true
    if (this.#alive) this.#child.kill('SIGTERM')
    const timer = this.#clock.setTimer(STOP_WAIT_MS, () => this.#child.kill('SIGKILL'))
    await this.#ended
    timer.cancel()
  }

  /** Ends the node with no chance to clean up, and waits for its end. */
  async kill(): Promise<void> {
    this.killNow()
    await this.#ended
  }

  /** As `kill`, without waiting: for the exit of the parent. */
  killNow(): void {
    this.#stopping = true
    if (this.#alive) this.#child.kill('SIGKILL')
  }
}
