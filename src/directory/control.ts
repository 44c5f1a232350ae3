/**
 * How a control message travels in CONTROL cells (circuit id 0): cut into fragments, one a cell, in order. Pure codec and a
 * reassembler that holds at most one message of 64 KiB. A neighbour that breaks a rule is malformed for good: the caller closes the link.
 * Spec: SPEC.md §3.4.
 *
 *   body = length u16 ‖ flags u8 (1: first, 2: last) ‖ fragment (length bytes) ‖ zeros
 */
import { readU16, writeU16 } from '../bytes/index.ts'
import { BODY_BYTES } from '../cell/index.ts'
import { CONTROL_BYTES_MAX } from '../wire/index.ts'

// Specification constants.
/** Length and flags. */
export const CONTROL_HEADER_BYTES = 3
/** Bytes of a message in one cell; every fragment but the last has exactly this many. */
export const FRAGMENT_BYTES = BODY_BYTES - CONTROL_HEADER_BYTES
const FIRST = 1
const LAST = 2

/** The cell bodies of `message` (1 byte to 64 KiB), in order, each `BODY_BYTES` long. */
export function toControlBodies(message: Uint8Array): Uint8Array[] {
  const bodies: Uint8Array[] = []
  for (let at = 0; at < message.length; at += FRAGMENT_BYTES) {
    const fragment = message.subarray(at, at + FRAGMENT_BYTES)
    const body = new Uint8Array(BODY_BYTES)
    writeU16(body, 0, fragment.length)
    body[2] = (at === 0 ? FIRST : 0) | (at + FRAGMENT_BYTES >= message.length ? LAST : 0)
    body.set(fragment, CONTROL_HEADER_BYTES)
    bodies.push(body)
  }
  return bodies
}

/** What one cell brought: nothing whole yet, a message (owned by the caller), or a breach of the framing. */
export type Reassembled = Uint8Array | 'partial' | 'malformed'

/** Puts one link's control messages together again. */
export class ControlReassembler {
  /** Fragments of the message under way, copied; empty between messages. */
  #parts: Uint8Array[] = []
  #bytes = 0
  #broken = false

  /** Takes one cell body (`BODY_BYTES`, borrowed). After a `malformed` every further cell is malformed too. */
  take(body: Uint8Array): Reassembled {
    const fragment = this.#broken ? null : this.#fragmentOf(body)
    if (fragment === null) {
      this.#broken = true
      this.#parts = []
      return 'malformed'
    }
    this.#parts.push(new Uint8Array(fragment))
    this.#bytes += fragment.length
    if ((body[2]! & LAST) === 0) return 'partial'
    const message = new Uint8Array(this.#bytes)
    let at = 0
    for (const part of this.#parts) {
      message.set(part, at)
      at += part.length
    }
    this.#parts = []
    this.#bytes = 0
    return message
  }

  /** The fragment if the cell keeps every rule: known flags, in order, full unless last, within 64 KiB, zeros behind it. */
  #fragmentOf(body: Uint8Array): Uint8Array | null {
    if (body.length !== BODY_BYTES) return null
    const length = readU16(body, 0)
    const flags = body[2]!
    const first = (flags & FIRST) !== 0
    const last = (flags & LAST) !== 0
    if (flags > (FIRST | LAST) || first !== (this.#parts.length === 0)) return null
    if (length === 0 || length > FRAGMENT_BYTES || (!last && length !== FRAGMENT_BYTES)) return null
    if (this.#bytes + length > CONTROL_BYTES_MAX) return null
    for (let at = CONTROL_HEADER_BYTES + length; at < BODY_BYTES; at++) if (body[at] !== 0) return null
    return body.subarray(CONTROL_HEADER_BYTES, CONTROL_HEADER_BYTES + length)
  }
}
