/**
 * Descriptors: what a node says of itself, signed by its identity. Making one, and the judgement of one that somebody handed over:
 * pure functions of bytes, rules and time. The order of the checks is the order of their price; the signature comes last.
 *
 * What it resists: a descriptor of another network (its id is signed), a forged or changed one (signature over the exact bytes), a
 * replayed old one (validity window; newest wins in `directory.ts`), identities by the million (proof of work bound to network and
 * node), and growth (every field bounded). It does not stop a node from lying about itself. Spec: SPEC.md §6.1, §6.2.
 */
import { equalPublic, lengthPrefixed, type NodeId, nodeIdBytes, nodeIdOf, type UnixMs, utf8 } from '../bytes/index.ts'
import { type SigningKey, taggedHash, verifySignature, verifyWork } from '../crypto/index.ts'
import {
  encodeDescriptor,
  encodeSignedDescriptor,
  parseDescriptor,
  parseSignedDescriptor,
  type SignedDescriptorFields,
} from '../wire/index.ts'
import type { Descriptor } from './types.ts'

// Specification constants.
/** How far in the future, by the receiver's clock, a descriptor may have been published. */
export const PUBLISHED_AHEAD_MS = 10 * 60_000
/** A descriptor ends this long after it was published. */
export const DESCRIPTOR_LIFE_MS = 24 * 3_600_000
/** Leading zero bits of the proof of work. A constant of the network. */
export const DESCRIPTOR_WORK_BITS = 16
export const DESCRIPTOR_WORK_LABEL = 'gyre/1 descriptor work'
const NETWORK_LABEL = 'gyre/1 network'
const SIGN_LABEL = utf8('gyre/1 descriptor')
const HASH_LABEL = 'gyre/1 descriptor hash'

/** What all nodes of one network agree on. */
export interface DirectoryRules {
  /** 32 bytes: `networkIdOf` its name. */
  readonly network: Uint8Array
  /** `DESCRIPTOR_WORK_BITS`; tests ask for less. */
  readonly workBits: number
}

/** What a node says of itself. */
export interface DescriptorClaims {
  readonly addresses: Descriptor['addresses']
  readonly onion: Descriptor['onion']
  readonly capacityClass: number
  readonly storeQuotaBytes: number
  readonly publishedMs: UnixMs
  readonly neighbours: readonly NodeId[]
  readonly family: readonly NodeId[]
  /** 8 bytes: found over `workBinding`. */
  readonly work: Uint8Array
  readonly firstSeenDay: number
  readonly putEffort?: Descriptor['putEffort']
}

/** A descriptor that passed every check, with the bytes to hand on. */
export interface VerifiedDescriptor {
  readonly descriptor: Descriptor
  /** 32 bytes, over the signed bytes alone: how the wrapper was encoded does not change it. */
  readonly hash: Uint8Array
  /** `SignedDescriptor`, encoded anew around the exact signed bytes. */
  readonly signed: Uint8Array
}

/** Why a descriptor is refused. `malformed`, `foreign`, `no-work` and `forged` come from liars only: honest nodes hand on none of them. */
export type DescriptorFault = 'malformed' | 'foreign' | 'future' | 'expired' | 'no-work' | 'forged'

/** The 32-byte id of the network called `name`. */
export function networkIdOf(name: string): Uint8Array {
  return taggedHash(NETWORK_LABEL, utf8(name))
}

/** What a descriptor's proof of work is bound to: one search serves an identity in one network for good. */
export function workBinding(network: Uint8Array, node: Uint8Array): Uint8Array {
  return lengthPrefixed(Uint8Array.of(1), network, node)
}

/** A `SignedDescriptor` of the node that `key` belongs to. The claims are the caller's own and keep to the limits of SPEC.md §6.1. */
export function makeDescriptor(claims: DescriptorClaims, network: Uint8Array, key: SigningKey): Uint8Array {
  const { putEffort, ...others } = claims
  const descriptor = encodeDescriptor({
    ...others,
    ...(putEffort === undefined ? {} : { putEffort }),
    version: 1,
    network,
    node: key.publicKey,
    neighbours: claims.neighbours.map(nodeIdBytes),
    family: claims.family.map(nodeIdBytes),
  })
  return encodeSignedDescriptor({ descriptor, signature: key.sign(signedInput(descriptor)) })
}

function signedInput(descriptor: Uint8Array): Uint8Array {
  return lengthPrefixed(SIGN_LABEL, descriptor)
}

/** The hash by which nodes talk about a descriptor. */
export function descriptorHash(signed: SignedDescriptorFields): Uint8Array {
  return taggedHash(HASH_LABEL, signed.descriptor)
}

/**
 * Judges the bytes of a `SignedDescriptor`. `worthwhile` is asked after the cheap checks and before the dear ones (work, signature):
 * a `false` (already known, or older than what is known) ends the judgement as `unneeded`.
 */
export function verifyDescriptor(
  bytes: Uint8Array,
  rules: DirectoryRules,
  nowMs: UnixMs,
  worthwhile: (id: NodeId, publishedMs: UnixMs, hash: Uint8Array) => boolean = () => true,
): VerifiedDescriptor | DescriptorFault | 'unneeded' {
  const signed = parseSignedDescriptor(bytes)
  const fields = signed === null ? null : parseDescriptor(signed.descriptor)
  if (signed === null || fields === null) return 'malformed'
  if (!equalPublic(fields.network, rules.network)) return 'foreign'
  const id = nodeIdOf(fields.node)
  const neighbours = fields.neighbours.map(nodeIdOf)
  const family = fields.family.map(nodeIdOf)
  if (!distinctOthers(neighbours, id) || !distinctOthers(family, id)) return 'malformed'
  if (fields.addresses.some((address) => !address.startsWith('/') || address.includes('/p2p/'))) return 'malformed'
  const publishedMs = fields.publishedMs as UnixMs
  if (publishedMs > nowMs + PUBLISHED_AHEAD_MS) return 'future'
  if (publishedMs + DESCRIPTOR_LIFE_MS <= nowMs) return 'expired'
  const hash = descriptorHash(signed)
  if (!worthwhile(id, publishedMs, hash)) return 'unneeded'
  if (!verifyWork(DESCRIPTOR_WORK_LABEL, workBinding(rules.network, fields.node), fields.work, rules.workBits)) return 'no-work'
  if (!verifySignature(fields.node, signedInput(signed.descriptor), signed.signature)) return 'forged'
  const { addresses, onion, capacityClass, storeQuotaBytes, putEffort } = fields
  const asked = putEffort === undefined ? {} : { putEffort }
  const descriptor = { id, addresses, onion, capacityClass, storeQuotaBytes, publishedMs, neighbours, family, ...asked }
  return { descriptor, hash, signed: encodeSignedDescriptor(signed) }
}

function distinctOthers(ids: readonly NodeId[], self: NodeId): boolean {
  return !ids.includes(self) && new Set(ids).size === ids.length
}
