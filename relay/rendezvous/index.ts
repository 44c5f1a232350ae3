/** Public face of the rendezvous point: circuits that show one cookie, joined in pairs. Spec: SPEC.md §11.3. */
export { QUEUE_ALONE_PAYLOADS, QUEUE_PAYLOADS } from './meeting.ts'
export { type ApexMemory, PAYLOADS_MAX, RESERVED_PAYLOADS } from './payload-queue.ts'
export { MEETING_BYTES, MEETING_WAIT_MS, RENDEZVOUS_LIMITS, Rendezvous, type RendezvousLimits } from './rendezvous.ts'
