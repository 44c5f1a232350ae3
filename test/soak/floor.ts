/**
 * What the machine gives while a soak runs: a process that does nothing but answer, asked now and then as often in a row as a fetch has hops. On a machine
 * that others use, latencies rise and fall with what they do; this rises and falls with it, and with nothing of ours.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../src/runtime/index.ts'

/** Round trips of one measurement: a small fetch goes round a loop of six twice. */
const TRIPS = 12
/** Hashed for each answer: about as long as a process works on a cell and what it wakes up for. */
const WORK = Buffer.alloc(256 * 1024)

export class Floor {
  readonly #child: ChildProcess
  readonly #socket: Socket

  private constructor(child: ChildProcess, socket: Socket) {
    this.#child = child
    this.#socket = socket
  }

  static async start(): Promise<Floor> {
    // Its standard input is what ends it with this process.
    const child = spawn(process.execPath, [fileURLToPath(import.meta.url)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, NODE_OPTIONS: '' },
    })
    const [port] = (await once(createInterface({ input: child.stdout! }), 'line')) as [string]
    const socket = connect(Number(port), '127.0.0.1').setNoDelay(true)
    await once(socket, 'connect')
    return new Floor(child, socket)
  }

  /** One measurement, in milliseconds. */
  async measure(): Promise<number> {
    const from = systemClock.monotonicMs()
    for (let trip = 0; trip < TRIPS; trip++) {
      this.#socket.write('?')
      await once(this.#socket, 'data')
    }
    return systemClock.monotonicMs() - from
  }

  close(): void {
    this.#socket.on('error', () => {})
    this.#socket.destroy()
    this.#child.kill('SIGKILL')
  }
}

async function answer(): Promise<void> {
  const server = createServer((socket) => {
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('data', () => socket.write(createHash('sha256').update(WORK).digest().subarray(0, 1)))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`)
  process.stdin.resume().on('end', () => process.exit(0))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await answer()
