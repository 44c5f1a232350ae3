/** Public face of the relay: what every node does for others. `client/node.ts` alone composes it with the rest. */
export { Admission, type AdmissionDeps } from './admission.ts'
export { Apex, type ApexService, type ApexServices } from './apex.ts'
export type { LinesParts } from './lines.ts'
export type { PacingOptions } from './pacing.ts'
export { Switch, type SwitchDeps } from './switch.ts'
export { ThreadLines } from './thread-lines.ts'

/** The program of the links' thread. */
export const LINK_THREAD = new URL('./link-thread.ts', import.meta.url)
