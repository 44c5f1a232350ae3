/**
 * A node with the lab's taps in it: stands for `client/cli/main.ts` in the lab's networks. The taps are in place before any module of the node
 * that opens a socket or makes a circuit is loaded. `ADVERSARY_TAPS` names the folder that the records go to, one pair of files per process;
 * `ADVERSARY_HANDS` (`delay:3,7`) which nodes, by the number in their data folder's name, do more than look; `ADVERSARY_CONTROL` a build that hides less.
 */
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import workerThreads, { type WorkerOptions } from 'node:worker_threads'
import { CONTROLS } from './controls/index.ts'
import { tapCircuits } from './tap-circuits.ts'
import { monotonicClock, TapWriter } from './tap-file.ts'
import { HANDS, type Hands, layHands } from './tap-hands.ts'
import { tapSockets } from './tap-sockets.ts'

const FLUSH_MS = 1_000
const THREAD = new URL('./tapped-thread.ts', import.meta.url)

const folder = process.env.ADVERSARY_TAPS
if (folder === undefined) throw new Error('ADVERSARY_TAPS is not set')
const writer = new TapWriter(join(folder, String(process.pid)))
const now = monotonicClock()
tapSockets(writer, now)
tapCircuits(writer, now)
const hands = handsOfThisNode(process.env.ADVERSARY_HANDS ?? '')
if (hands !== null) layHands(hands, now)
const control = CONTROLS.find((known) => known === process.env.ADVERSARY_CONTROL)
// Loaded with what it lays hands on only where it is asked for.
if (control !== undefined) (await import('./controls/lay.ts')).lay(control)
setInterval(() => writer.flush(), FLUSH_MS).unref()
process.on('exit', () => writer.close())

/** The thread of the links begins with a tap of its own. */
class TappedWorker extends workerThreads.Worker {
  constructor(program: URL, options: WorkerOptions) {
    super(THREAD, { ...options, env: { ...process.env, ADVERSARY_PROGRAM: program.href } })
  }
}
workerThreads.Worker = TappedWorker as typeof workerThreads.Worker
syncBuiltinESMExports()

await import('../../client/cli/main.ts')

function handsOfThisNode(text: string): Hands | null {
  const [kind, nodes = ''] = text.split(':')
  const folder = process.argv[process.argv.indexOf('--data-dir') + 1] ?? ''
  const self = /node-(\d+)$/.exec(folder)?.[1]
  const found = HANDS.find((one) => one === kind)
  return found !== undefined && self !== undefined && nodes.split(',').includes(self) ? found : null
}
