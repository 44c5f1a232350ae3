/**
 * A member's side of set-up: one whole packet in, the packet for the next member and the layer's keys out, or a silent drop. Pure but
 * for the fresh key and the replay cache: no socket, no timer. The origin's returning packet does not come here: the switch looks
 * `ephemeralOf(packet)` up among the pending loops first. Spec: SPEC.md §4.3 "Hop", whose step numbers stand in the code.
 *
 * Threat: neighbours that change, replay or forge packets to learn a member's index, its next hop or which neighbours it has. Each drop is
 * silent. From the moment at which secrets are involved (3) all work is done for a packet that will be dropped as well, on stand-ins
 * where something is missing: what a busy thread shows is the same. What is refused before (length, key id, version, replay) the sender knew.
 */
import { type NodeId, toHex, type UnixMs } from '../../bytes/index.ts'
import { chacha20Xor, openOnce, type PrivateKeyHandle, wipe, X25519_BYTES, type X25519PrivateKey } from '../../crypto/index.ts'
import type { OnionPublicKeys } from '../onion-public.ts'
import {
  CIPHERTEXT_AT,
  EPHEMERAL_AT,
  KID_AT,
  RECORD_BYTES,
  SEALED_AT,
  SETUP_BYTES,
  SETUP_VERSION,
  SLOT_BYTES,
  STACK_BYTES,
} from './constants.ts'
import {
  layerKeys,
  PRIMITIVES,
  RECORD_LABEL,
  recordContext,
  recordKeys,
  type SetUpLayer,
  type SetUpPrimitives,
  transcript,
  wipeLayer,
  wipeRecordKeys,
} from './keys.ts'
import { type PlanRefusal, refusePlan } from './plan.ts'
import { decodeBody, type LoopClock, type RecordBody, type SetUpPlan } from './record.ts'
import type { ReplayGuard } from './replay-cache.ts'
import { xorInto } from './xor.ts'

/** One of this node's onion key pairs. */
export interface OnionKeyPair {
  readonly published: OnionPublicKeys
  readonly x25519: X25519PrivateKey
  readonly mlkem768: PrivateKeyHandle
  /** Lives exactly as long as the pair. */
  readonly replay: ReplayGuard
}

/** What set-up asks of the key ring. */
export interface OnionKeyFinder {
  /** The pair that `kid` names, if it is still valid. */
  find(kid: number): OnionKeyPair | null
}

/** The world as a hop sees it when a packet comes. */
export interface HopSurroundings {
  /** 32 bytes. */
  readonly network: Uint8Array
  readonly self: NodeId
  readonly onionKeys: OnionKeyFinder
  readonly nowMs: UnixMs
  /** The neighbour on whose link the packet came. */
  readonly previous: NodeId
  /** Whether a link with `id` is open now. */
  isNeighbour(id: NodeId): boolean
  /** Default: `SUPPORTED_CLOCKS`. */
  readonly clocks?: readonly LoopClock[]
  /** Checks a record's work (16 bytes) against its context (32 bytes); absent while the effort is 0. */
  verifyWork?(work: Uint8Array, context: Uint8Array): boolean
  readonly primitives?: SetUpPrimitives
}

/** Why a packet was dropped. For tests and coarse counters only: nothing of it is answered, logged per packet or put on the wire. */
export type SetUpDrop =
  | 'malformed'
  | 'unknown-key'
  | 'replayed'
  | 'replay-full'
  | 'unopened'
  | 'fields'
  | PlanRefusal
  | 'work'
  | 'next'

/** What becomes of a packet. On `ok` the arrays are owned by the caller, who wipes the keys. */
export type SetUpVerdict =
  | ({
      readonly ok: true
      readonly next: NodeId
      readonly plan: SetUpPlan
      /** To send on to `next`, `SETUP_BYTES` long. */
      readonly packet: Uint8Array
    } & SetUpLayer)
  | { readonly ok: false; readonly reason: SetUpDrop }

/** The ephemeral key of the packet's first record, as hex: by it an origin knows its own packet. `''` if the length is wrong. */
export function ephemeralOf(packet: Uint8Array): string {
  return packet.length === SETUP_BYTES ? toHex(packet.subarray(EPHEMERAL_AT, CIPHERTEXT_AT)) : ''
}

/** Handles a whole packet (`borrowed until return`, unchanged). Any bytes give a verdict; nothing throws. */
export function openSetUp(packet: Uint8Array, hop: HopSurroundings): SetUpVerdict {
  // (1) parse
  if (packet.length !== SETUP_BYTES) return { ok: false, reason: 'malformed' }
  const pair = hop.onionKeys.find(packet[KID_AT]!)
  if (pair === null) return { ok: false, reason: 'unknown-key' }
  if (packet[0] !== SETUP_VERSION) return { ok: false, reason: 'malformed' }
  const ephemeral = packet.subarray(EPHEMERAL_AT, CIPHERTEXT_AT)

  // (2) replay, before any other effect
  const admission = pair.replay.admit(ephemeral)
  if (admission !== 'fresh') return { ok: false, reason: admission === 'seen' ? 'replayed' : 'replay-full' }

  // (3) open; from here on the work is the same whatever comes out
  const p = hop.primitives ?? PRIMITIVES
  const ciphertext = packet.subarray(CIPHERTEXT_AT, SEALED_AT)
  const ctx = recordContext(hop.network, hop.self, pair.published, ephemeral, ciphertext)
  const ecdh = p.x25519(pair.x25519, ephemeral)
  const ecdhSecret = ecdh ?? new Uint8Array(X25519_BYTES)
  const kemSecret = p.mlkemDecapsulate(pair.mlkem768, ciphertext) ?? new Uint8Array(X25519_BYTES)
  const keys = recordKeys(p, hop.network, ctx, ecdhSecret, kemSecret)
  const head = packet.subarray(0, SEALED_AT)
  const opened = openOnce(
    keys.body,
    packet.subarray(SEALED_AT, RECORD_BYTES),
    RECORD_LABEL,
    head,
    packet.subarray(RECORD_BYTES, STACK_BYTES),
  )
  const body = ecdh === null || opened === null ? null : decodeBody(opened)

  // (4) check
  const refused = ecdh === null || opened === null ? 'unopened' : body === null ? 'fields' : refuseBody(body, ctx, hop)

  // (5) fresh key, transcript, layer
  const stack = packet.subarray(0, STACK_BYTES)
  const reply = packet.subarray(STACK_BYTES)
  const fresh = p.x25519Generate()
  const freshSecret = p.x25519(fresh.privateKey, ephemeral) ?? new Uint8Array(X25519_BYTES)
  const th = transcript(ctx, stack, reply, fresh.publicKey)
  const { cellKey, answerKey, confirmation } = layerKeys(p, keys.prk1, freshSecret, th)

  // (6) peel the stack, (7) add the reply
  const onward = new Uint8Array(SETUP_BYTES)
  onward.set(stack.subarray(RECORD_BYTES))
  onward.set(chacha20Xor(keys.stack, 0, onward.subarray(0, STACK_BYTES)))
  onward.set(chacha20Xor(keys.reply, 0, reply), STACK_BYTES)
  const slotAt = STACK_BYTES + SLOT_BYTES * (body?.slot ?? 0)
  xorInto(onward, slotAt, fresh.publicKey)
  xorInto(onward, slotAt + X25519_BYTES, confirmation)

  // (8) wipe
  wipe(fresh.privateKey, ecdhSecret, kemSecret, freshSecret)
  wipeRecordKeys(keys)
  if (opened !== null) wipe(opened)
  if (refused !== null || body === null) {
    wipeLayer({ cellKey, answerKey })
    return { ok: false, reason: refused ?? 'fields' }
  }
  return { ok: true, next: body.next, plan: body.plan, packet: onward, cellKey, answerKey }
}

/** The first reason to refuse what an opened body asks, in the order of the spec. */
function refuseBody(body: RecordBody, ctx: Uint8Array, hop: HopSurroundings): SetUpDrop | null {
  const refused = refusePlan(body.plan, hop.nowMs, hop.clocks)
  if (refused !== null) return refused
  if (hop.verifyWork !== undefined && !hop.verifyWork(body.work, ctx)) return 'work'
  if (body.next === hop.self || body.next === hop.previous || !hop.isNeighbour(body.next)) return 'next'
  return null
}
