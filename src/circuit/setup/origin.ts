/**
 * The origin builds a set-up packet: one record for each member and one for itself, each sealed over everything behind it, with the filler
 * computed in advance so that every hop's peeling ends in the right bytes. Its own record is real and addressed to its published key: the
 * last member's successor looks like any other. What comes back is checked in `pending.ts`. Spec: SPEC.md §4.3 "Origin builds".
 *
 * Threat: members that compare packets to learn their index or the loop's length; whoever steals this node's onion keys later and opens the
 * origin's own record finds the body of a relay in it.
 */
import { concat, type NodeId } from '../../bytes/index.ts'
import { chacha20Keystream, mlkemPublic, type PublicKeyHandle, sealOnce, wipe, type X25519KeyPair } from '../../crypto/index.ts'
import { OverlayError } from '../../errors/index.ts'
import { type Rng, shuffled } from '../../runtime/index.ts'
import type { OnionPublicKeys } from '../onion-public.ts'
import {
  CIPHERTEXT_AT,
  EPHEMERAL_AT,
  KID_AT,
  MEMBERS_MAX,
  MEMBERS_MIN,
  RECORD_BYTES,
  RECORDS,
  REPLY_BYTES,
  REST_BYTES,
  SEALED_AT,
  SETUP_VERSION,
  STACK_BYTES,
} from './constants.ts'
import { PRIMITIVES, RECORD_LABEL, type RecordKeys, recordContext, recordKeys, type SetUpPrimitives } from './keys.ts'
import { PendingSetUp, type PendingState } from './pending.ts'
import { encodeBody, RECORD_RANDOM_BYTES, type SetUpPlan, WORK_BYTES } from './record.ts'
import { xorInto } from './xor.ts'

/** A member of a loop to be, as the directory has it. Keep the same `onion` object: its imported key is cached on it. */
export interface SetUpMember {
  readonly id: NodeId
  readonly onion: OnionPublicKeys
}

export interface SetUpRequest {
  /** 32 bytes. */
  readonly network: Uint8Array
  /** Hops 1…n in order, `MEMBERS_MIN` to `MEMBERS_MAX`, all distinct, the origin not among them. */
  readonly members: readonly SetUpMember[]
  /** The origin's own id and published keys: member n+1. */
  readonly self: SetUpMember
  /**
   * Enters the origin's own ephemeral into the replay cache of its own key (`OnionKeyRing.claim`), so that the returning packet, sent
   * again later, is dropped as a hop drops a replay. Without it a last member could tell the origin by what it does the second time.
   */
  claim(kid: number, ephemeral: Uint8Array): boolean
  readonly plan: SetUpPlan
  /** Named as next in the origin's own record, which only a thief of its keys will read: a neighbour, not the last member. Default: hop 1. */
  readonly decoyNext?: NodeId
  readonly rng: Rng
  /** Makes the proof of work (16 bytes) for a record's context; absent while the effort is 0. */
  solveWork?(context: Uint8Array): Uint8Array
  readonly primitives?: SetUpPrimitives
}

export interface SetUpBuild {
  /** To send to hop 1, `SETUP_BYTES` long. */
  readonly packet: Uint8Array
  readonly pending: PendingSetUp
}

/** A record in the making. */
interface Draft {
  readonly slot: number
  readonly ephemeral: X25519KeyPair
  readonly ciphertext: Uint8Array
  readonly ctx: Uint8Array
  readonly keys: RecordKeys
}

/** Imported ML-KEM keys live as long as the descriptor's key object that they belong to, which bounds them by the directory. */
const imported = new WeakMap<OnionPublicKeys, PublicKeyHandle>()

/**
 * Builds the packet that sets up a loop through `members` and back. Errors: `SETUP_BAD_MEMBER` (a member's published keys are unusable: leave
 * it out), `SETUP_REFUSED` (own replay cache full: rotate the keys), `INTERNAL` (a member list that path choice must never give).
 */
export function buildSetUp(request: SetUpRequest): SetUpBuild {
  const { packet, state } = composeSetUp(request)
  return { packet, pending: new PendingSetUp(state) }
}

/** The work of `buildSetUp`, with the state laid open: for `PendingSetUp`, and for tests that check one loop's return many times. */
export function composeSetUp(request: SetUpRequest): { readonly packet: Uint8Array; readonly state: PendingState } {
  checkMembers(request)
  const { members, self, network, plan, rng } = request
  const p = request.primitives ?? PRIMITIVES
  const hops = [...members, self]
  const count = members.length
  const slots = shuffled(
    Array.from({ length: RECORDS }, (_, slot) => slot),
    rng,
  )
  const drafts = hops.map((hop, at) => draft(p, network, hop, slots[at]!))
  const own = drafts[count]!
  if (!request.claim(self.onion.kid, own.ephemeral.publicKey)) {
    throw new OverlayError('overload', 'SETUP_REFUSED', 'The own onion key takes no further set-up.')
  }

  // φ: what peeling by hops 1…n leaves at the end of the stack
  const masks = drafts.slice(0, count).map(({ keys }) => chacha20Keystream(keys.stack, STACK_BYTES))
  let filler = new Uint8Array(0)
  for (const mask of masks) {
    const grown = mask.slice(STACK_BYTES - RECORD_BYTES - filler.length)
    xorInto(grown, 0, filler)
    filler = grown
  }

  // A_{n+1}, then backwards A_n … A_1
  const stacks: Uint8Array[] = new Array(count + 1)
  let rest: Uint8Array = concat(rng.bytes(REST_BYTES - filler.length), filler)
  for (let at = count; at >= 0; at--) {
    const { slot, keys, ctx } = drafts[at]!
    if (at < count) rest = unpeel(masks[at]!, stacks[at + 1]!)
    const next = hops[at + 1]?.id ?? request.decoyNext ?? members[0]!.id
    const work = request.solveWork?.(ctx) ?? new Uint8Array(WORK_BYTES)
    const body = encodeBody({ next, slot, plan, work }, rng.bytes(RECORD_RANDOM_BYTES))
    stacks[at] = sealRecord(hops[at]!, drafts[at]!, body, rest)
    wipe(body, keys.body, keys.stack)
  }

  const reply = rng.bytes(REPLY_BYTES)
  const packet = concat(stacks[0]!, reply)
  wipe(own.ephemeral.privateKey, own.keys.prk1, own.keys.reply)
  const awaited = drafts.slice(0, count).map(({ slot, ephemeral, ctx, keys }, at) => {
    return { slot, ephemeral: ephemeral.privateKey, ctx, prk1: keys.prk1, replyKey: keys.reply, stack: stacks[at]! }
  })
  const last = members[count - 1]!.id
  return { packet, state: { hops: awaited, ownStack: stacks[count]!, reply, last, primitives: p } }
}

/** Draws a record's ephemeral key and encapsulation and derives its keys. */
function draft(p: SetUpPrimitives, network: Uint8Array, hop: SetUpMember, slot: number): Draft {
  const kemKey = importKey(hop.onion)
  const ephemeral = p.x25519Generate()
  const ecdhSecret = p.x25519(ephemeral.privateKey, hop.onion.x25519)
  if (kemKey === null || ecdhSecret === null) {
    throw new OverlayError('protocol', 'SETUP_BAD_MEMBER', 'The published onion keys of a chosen member are unusable.')
  }
  const { secret, ciphertext } = p.mlkemEncapsulate(kemKey)
  const ctx = recordContext(network, hop.id, hop.onion, ephemeral.publicKey, ciphertext)
  const keys = recordKeys(p, network, ctx, ecdhSecret, secret)
  wipe(ecdhSecret, secret)
  return { slot, ephemeral, ciphertext, ctx, keys }
}

/** record ‖ rest, `STACK_BYTES` long. */
function sealRecord(hop: SetUpMember, { ephemeral, ciphertext, keys }: Draft, body: Uint8Array, rest: Uint8Array): Uint8Array {
  const stack = new Uint8Array(STACK_BYTES)
  stack[0] = SETUP_VERSION
  stack[KID_AT] = hop.onion.kid
  stack.set(ephemeral.publicKey, EPHEMERAL_AT)
  stack.set(ciphertext, CIPHERTEXT_AT)
  stack.set(sealOnce(keys.body, body, RECORD_LABEL, stack.subarray(0, SEALED_AT), rest), SEALED_AT)
  stack.set(rest, RECORD_BYTES)
  return stack
}

/**
 * The rest that a hop must receive so that its peeling gives `stack`; made in `mask`. A record's worth at the end must come out as the
 * zeros that the hop adds.
 */
function unpeel(mask: Uint8Array, stack: Uint8Array): Uint8Array {
  xorInto(mask, 0, stack)
  for (let at = REST_BYTES; at < STACK_BYTES; at++) {
    if (mask[at] !== 0) throw new OverlayError('bug', 'INTERNAL', 'The set-up filler is wrong.')
  }
  return mask.subarray(0, REST_BYTES)
}

function importKey(onion: OnionPublicKeys): PublicKeyHandle | null {
  const known = imported.get(onion)
  if (known !== undefined) return known
  const key = mlkemPublic(onion.mlkem768)
  if (key !== null) imported.set(onion, key)
  return key
}

function checkMembers({ members, self, network }: SetUpRequest): void {
  const distinct = new Set([...members.map(({ id }) => id), self.id])
  const counted = members.length >= MEMBERS_MIN && members.length <= MEMBERS_MAX
  if (!counted || distinct.size !== members.length + 1 || network.length !== 32) {
    throw new OverlayError(
      'bug',
      'INTERNAL',
      `A loop of ${members.length} other members (distinct: ${distinct.size - 1}) was asked for.`,
    )
  }
}
