/** The tap at the sockets of a node whose links have a thread of their own: stands for that thread's program, and goes on as it. */
import { join } from 'node:path'
import { linksPath, monotonicClock, TapWriter } from './tap-file.ts'
import { tapSockets } from './tap-sockets.ts'

const FLUSH_MS = 1_000

const { ADVERSARY_TAPS: folder, ADVERSARY_PROGRAM: program } = process.env
if (folder === undefined || program === undefined) throw new Error('ADVERSARY_TAPS or ADVERSARY_PROGRAM is not set')
const writer = new TapWriter(linksPath(join(folder, String(process.pid))))
tapSockets(writer, monotonicClock())
setInterval(() => writer.flush(), FLUSH_MS).unref()
process.on('exit', () => writer.close())

await import(program)
