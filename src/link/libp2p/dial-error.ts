/**
 * What a failed dial means to its caller. libp2p and Node report the same failure in several ways; here they become one of the codes that
 * `LinkHost.dial` promises. Pure.
 */
import { isOverlayError, OverlayError } from '../../errors/index.ts'

/** Noise says only in words that another node answered (`EncryptionFailedError` drops the class of its cause). */
const NOISE_WRONG_PEER = /identity key .* does not match expected/

/** `error` as one of `LINK_WRONG_PEER`, `LINK_UNREACHABLE`, `TIMEOUT`. */
export function dialError(error: unknown): OverlayError {
  if (isOverlayError(error)) return error
  const name = error instanceof Error ? error.name : ''
  const message = error instanceof Error ? error.message : ''
  if (name === 'UnexpectedPeerError' || NOISE_WRONG_PEER.test(message)) {
    return new OverlayError('unreachable', 'LINK_WRONG_PEER', 'Another node than expected answered.', error)
  }
  return new OverlayError('unreachable', 'LINK_UNREACHABLE', 'The address could not be reached.', error)
}
