/**
 * What an origin keeps between sending a set-up packet and its return, and the check of what returns. The confirmations are verified in
 * the order of the loop, each over the reply area as that member received it, so that a change anywhere, undone later or not, leaves no
 * usable loop. Spec: SPEC.md §4.3 "Origin checks".
 *
 * Threat: members that answer for others, mark the packet for a colluding member further on, or replace keys. All hops are checked to the end
 * even after a mismatch: how long it takes does not say where it lay.
 */
import { equalPublic, type NodeId } from '../../bytes/index.ts'
import { chacha20Keystream, equalSecret, wipe, X25519_BYTES, type X25519PrivateKey } from '../../crypto/index.ts'
import { RECORDS, REPLY_BYTES, SETUP_BYTES, SLOT_BYTES, STACK_BYTES } from './constants.ts'
import { ephemeralOf } from './hop.ts'
import { layerKeys, type SetUpLayer, type SetUpPrimitives, transcript, wipeLayer } from './keys.ts'
import { xorInto } from './xor.ts'

/** What is awaited from one member. Secrets: `ephemeral`, `prk1`, `replyKey`. */
export interface AwaitedHop {
  readonly slot: number
  readonly ephemeral: X25519PrivateKey
  readonly ctx: Uint8Array
  readonly prk1: Uint8Array
  readonly replyKey: Uint8Array
  /** A as this member receives it. */
  readonly stack: Uint8Array
}

export interface PendingState {
  readonly hops: readonly AwaitedHop[]
  /** A as the origin receives it. */
  readonly ownStack: Uint8Array
  /** Q as sent. */
  readonly reply: Uint8Array
  /** Hop n, from which the packet must come. */
  readonly last: NodeId
  readonly primitives: SetUpPrimitives
}

/** One loop under construction. About 15 KB for each member; the origin bounds how many it has. */
export class PendingSetUp {
  /** Hex of the ephemeral key by which the origin knows the returning packet: compare with `ephemeralOf(packet)`. */
  readonly ephemeral: string
  #state: PendingState | null

  constructor(state: PendingState) {
    const framed = new Uint8Array(SETUP_BYTES)
    framed.set(state.ownStack)
    this.ephemeral = ephemeralOf(framed)
    this.#state = state
  }

  /**
   * Checks the packet (borrowed until return) that came from neighbour `previous`. The layers of hops 1…n, owned by the caller, or `null`:
   * the loop must never be used and counts against its members. Can be called once: every secret is wiped before it returns.
   */
  complete(packet: Uint8Array, previous: NodeId): SetUpLayer[] | null {
    const state = this.#state
    if (state === null) return null
    try {
      return previous === state.last ? checkReturn(state, packet) : null
    } finally {
      this.wipe()
    }
  }

  /** Ends the wait. Idempotent. */
  wipe(): void {
    for (const { ephemeral, prk1, replyKey } of this.#state?.hops ?? []) wipe(ephemeral, prk1, replyKey)
    this.#state = null
  }
}

/** The layers of all hops if `packet` is what an untouched loop returns, else `null`. Changes nothing in `state`. */
export function checkReturn(state: PendingState, packet: Uint8Array): SetUpLayer[] | null {
  if (packet.length !== SETUP_BYTES || !equalPublic(packet.subarray(0, STACK_BYTES), state.ownStack)) return null
  const received = packet.subarray(STACK_BYTES)

  // Δ: with every mask taken off, each member's answer lies open in its slot
  const masks = state.hops.map(({ replyKey }) => chacha20Keystream(replyKey, REPLY_BYTES))
  const delta = received.slice()
  xorInto(delta, 0, state.reply)
  for (const mask of masks) xorInto(delta, 0, mask)
  let right = unusedSlotsZero(delta, state.hops)

  const layers: SetUpLayer[] = []
  const reply = state.reply.slice()
  for (const [at, { slot, ephemeral, ctx, prk1, stack }] of state.hops.entries()) {
    const answer = delta.subarray(slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES)
    const fresh = answer.subarray(0, X25519_BYTES)
    const secret = state.primitives.x25519(ephemeral, fresh)
    if (secret === null) right = false
    const freshSecret = secret ?? new Uint8Array(X25519_BYTES)
    const th = transcript(ctx, stack, reply, fresh)
    const { confirmation, ...layer } = layerKeys(state.primitives, prk1, freshSecret, th)
    if (!equalSecret(confirmation, answer.subarray(X25519_BYTES))) right = false
    wipe(freshSecret)
    layers.push(layer)
    xorInto(reply, 0, masks[at]!)
    xorInto(reply, slot * SLOT_BYTES, answer)
  }
  if (!equalPublic(reply, received)) right = false
  wipe(...masks)
  if (right) return layers
  for (const layer of layers) wipeLayer(layer)
  return null
}

function unusedSlotsZero(delta: Uint8Array, hops: readonly AwaitedHop[]): boolean {
  const used = new Set(hops.map(({ slot }) => slot))
  for (let slot = 0; slot < RECORDS; slot++) {
    if (used.has(slot)) continue
    for (let at = slot * SLOT_BYTES; at < (slot + 1) * SLOT_BYTES && at < REPLY_BYTES; at++) if (delta[at] !== 0) return false
  }
  return true
}
