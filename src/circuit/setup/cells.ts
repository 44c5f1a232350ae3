/**
 * A set-up packet in exactly eight SETUP cells, and its assembly at the other end of one link. Spec: SPEC.md §4.3 "Cells".
 *
 *   body = part u8 (0…7) ‖ 1911 bytes of the packet ‖ zeros to the end
 *
 * Threat: a neighbour that starts packets and never ends them. Links are ordered, so parts must come in order, without gaps, within
 * `ASSEMBLY_MS`; a link holds at most `ASSEMBLIES_MAX` unfinished packets and a further one is refused. What is refused is dropped in silence.
 */
import type { MonotonicMs } from '../../bytes/index.ts'
import { BODY_BYTES, type CircuitId } from '../../cell/index.ts'
import { ASSEMBLIES_MAX, ASSEMBLY_MS, SETUP_BYTES, SETUP_CELLS, SETUP_PART_BYTES } from './constants.ts'

const PART_AT = 1
const PADDING_AT = PART_AT + SETUP_PART_BYTES

/** The bodies of a packet's eight cells, in the order in which they are sent. */
export function setUpCells(packet: Uint8Array): readonly Uint8Array[] {
  return Array.from({ length: SETUP_CELLS }, (_, part) => {
    const body = new Uint8Array(BODY_BYTES)
    body[0] = part
    body.set(packet.subarray(part * SETUP_PART_BYTES, (part + 1) * SETUP_PART_BYTES), PART_AT)
    return body
  })
}

/** What a cell did: `more` to come, a whole `packet` (owned by the caller), or it was `refused` and what was there of it dropped. */
export type AssemblyVerdict =
  | { readonly kind: 'more' }
  | { readonly kind: 'packet'; readonly packet: Uint8Array }
  | { readonly kind: 'refused'; readonly reason: 'malformed' | 'order' | 'late' | 'full' }

interface Assembly {
  readonly packet: Uint8Array
  readonly startedMs: MonotonicMs
  parts: number
}

/** The unfinished set-up packets of one link. */
export class SetUpAssembler {
  readonly #assemblies = new Map<CircuitId, Assembly>()

  /** Packets begun and not ended. */
  get size(): number {
    return this.#assemblies.size
  }

  /** Takes the body of a SETUP cell (borrowed until return) of circuit `id`. */
  accept(id: CircuitId, body: Uint8Array, nowMs: MonotonicMs): AssemblyVerdict {
    if (!wellFormed(body)) return this.#refuse(id, 'malformed')
    const part = body[0]!
    let assembly = this.#assemblies.get(id)
    if (assembly !== undefined && nowMs - assembly.startedMs > ASSEMBLY_MS) return this.#refuse(id, 'late')
    if (part !== (assembly?.parts ?? 0)) return this.#refuse(id, 'order')
    if (assembly === undefined) {
      if (this.#assemblies.size >= ASSEMBLIES_MAX) this.expire(nowMs)
      if (this.#assemblies.size >= ASSEMBLIES_MAX) return { kind: 'refused', reason: 'full' }
      assembly = { packet: new Uint8Array(SETUP_BYTES), startedMs: nowMs, parts: 0 }
      this.#assemblies.set(id, assembly)
    }
    assembly.packet.set(body.subarray(PART_AT, PADDING_AT), part * SETUP_PART_BYTES)
    assembly.parts++
    if (assembly.parts < SETUP_CELLS) return { kind: 'more' }
    this.#assemblies.delete(id)
    return { kind: 'packet', packet: assembly.packet }
  }

  /** Drops what is overdue. To be called now and then, so that a silent neighbour's parts do not stay. */
  expire(nowMs: MonotonicMs): void {
    for (const [id, { startedMs }] of this.#assemblies) if (nowMs - startedMs > ASSEMBLY_MS) this.#assemblies.delete(id)
  }

  /** Drops circuit `id`'s parts, or all of them when the link ends. Idempotent. */
  drop(id?: CircuitId): void {
    if (id === undefined) this.#assemblies.clear()
    else this.#assemblies.delete(id)
  }

  #refuse(id: CircuitId, reason: 'malformed' | 'order' | 'late'): AssemblyVerdict {
    this.#assemblies.delete(id)
    return { kind: 'refused', reason }
  }
}

/** Whether `body` of a SETUP cell begins a packet. */
export function isFirstPart(body: Uint8Array): boolean {
  return body[0] === 0
}

function wellFormed(body: Uint8Array): boolean {
  if (body.length !== BODY_BYTES || body[0]! >= SETUP_CELLS) return false
  for (let at = PADDING_AT; at < BODY_BYTES; at++) if (body[at] !== 0) return false
  return true
}
