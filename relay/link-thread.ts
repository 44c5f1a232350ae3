/** The program of the links' thread: the sockets of all links, and all that they send by time. */
import { serveLinks } from '../src/link/thread/serve.ts'
import { systemRng } from '../src/runtime/index.ts'
import { LineThread } from './line-thread.ts'

serveLinks((parts) => new LineThread(parts, systemRng))
