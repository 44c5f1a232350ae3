/** The name of an introduction point: what its service, its clients and the node itself agree on. Spec: SPEC.md §11.2. */
import { taggedHash } from '../crypto/index.ts'

/** Name of the introduction point at which the service shows `token` (32 bytes): 32 bytes. Who knows the name does not know the token. */
export function introductionPointName(token: Uint8Array): Uint8Array {
  return taggedHash('gyre/1 introduction point', token)
}
