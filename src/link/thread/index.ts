/** Links whose sockets have a thread of their own. `host.ts` is the node's side; the thread's program calls `serveLinks` (`serve.ts`). */
export { ThreadHost, type ThreadHostOptions } from './host.ts'
export { decodeText, encodeText, OTHER_KINDS } from './kinds.ts'
export type { OnRecord, RecordWriter } from './record-ring.ts'
