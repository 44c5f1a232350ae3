/**
 * Descriptors as bytes: the form alone (presence, lengths, counts). What they say is judged in `src/directory/descriptor.ts`, over the
 * exact bytes that were signed: nothing is encoded again to be verified. Spec: SPEC.md §6.1.
 */
import { gyre } from './generated/messages.js'
import {
  ADDRESS_BYTES_MAX,
  ADDRESSES_MAX,
  CAPACITY_CLASS_MAX,
  FAMILY_MAX,
  LISTED_NEIGHBOURS_MAX,
  MLKEM768_FIELD_BYTES,
  NETWORK_ID_BYTES,
  NODE_ID_BYTES,
  ONION_KEY_ID_MAX,
  PUT_EFFORT_MAX,
  SIGNATURE_FIELD_BYTES,
  SIGNED_DESCRIPTOR_BYTES_MAX,
  WORK_BYTES,
  X25519_FIELD_BYTES,
} from './limits.ts'
import { bytesField, bytesList, decodeWith, encodeWith, integerField } from './protobuf.ts'

export interface SignedDescriptorFields {
  /** The exact bytes that `signature` covers. */
  readonly descriptor: Uint8Array
  /** 64 bytes. */
  readonly signature: Uint8Array
}

/** A `Descriptor` message of the right form; nothing in it is verified. */
export interface DescriptorFields {
  readonly version: number
  readonly network: Uint8Array
  readonly node: Uint8Array
  readonly addresses: readonly string[]
  readonly onion: { readonly kid: number; readonly x25519: Uint8Array; readonly mlkem768: Uint8Array }
  readonly capacityClass: number
  readonly storeQuotaBytes: number
  readonly publishedMs: number
  readonly neighbours: readonly Uint8Array[]
  readonly family: readonly Uint8Array[]
  readonly work: Uint8Array
  readonly firstSeenDay: number
  /** Bits of work that a put asks for. Absent: none. */
  readonly putEffort?: number
}

const { Descriptor, SignedDescriptor } = gyre.directory
/** Exclusive of space: an address is one word. */
const PRINTABLE_ASCII = /^[\x21-\x7e]+$/

export function encodeSignedDescriptor(signed: SignedDescriptorFields): Uint8Array {
  return encodeWith(SignedDescriptor, signed)
}

/** `null` if over 4096 bytes, not that message, or without either field. */
export function parseSignedDescriptor(bytes: Uint8Array): SignedDescriptorFields | null {
  const signed = decodeWith(SignedDescriptor, bytes, SIGNED_DESCRIPTOR_BYTES_MAX)
  const descriptor = bytesField(signed?.descriptor, 1, SIGNED_DESCRIPTOR_BYTES_MAX)
  const signature = bytesField(signed?.signature, SIGNATURE_FIELD_BYTES)
  return descriptor && signature && { descriptor, signature }
}

export function encodeDescriptor(fields: DescriptorFields): Uint8Array {
  return encodeWith(Descriptor, {
    ...fields,
    addresses: [...fields.addresses],
    neighbours: [...fields.neighbours],
    family: [...fields.family],
  })
}

/** `null` for anything that is not a version 1 descriptor of the form of SPEC.md §6.1. Never throws. */
export function parseDescriptor(bytes: Uint8Array): DescriptorFields | null {
  const raw = decodeWith(Descriptor, bytes, SIGNED_DESCRIPTOR_BYTES_MAX)
  if (raw === null || raw.version !== 1) return null
  const network = bytesField(raw.network, NETWORK_ID_BYTES)
  const node = bytesField(raw.node, NODE_ID_BYTES)
  const addresses = addressesOf(raw.addresses)
  const kid = integerField(raw.onion?.kid, ONION_KEY_ID_MAX)
  const x25519 = bytesField(raw.onion?.x25519, X25519_FIELD_BYTES)
  const mlkem768 = bytesField(raw.onion?.mlkem768, MLKEM768_FIELD_BYTES)
  const capacityClass = integerField(raw.capacityClass, CAPACITY_CLASS_MAX)
  const storeQuotaBytes = integerField(raw.storeQuotaBytes)
  const publishedMs = integerField(raw.publishedMs)
  const neighbours = bytesList(raw.neighbours, LISTED_NEIGHBOURS_MAX, NODE_ID_BYTES)
  const family = bytesList(raw.family, FAMILY_MAX, NODE_ID_BYTES)
  const work = bytesField(raw.work, WORK_BYTES)
  const firstSeenDay = integerField(raw.firstSeenDay, 0xffff_ffff)
  if (network === null || node === null || addresses === null || work === null || neighbours === null || family === null)
    return null
  if (kid === null || x25519 === null || mlkem768 === null || capacityClass === null || storeQuotaBytes === null) return null
  const putEffort = integerField(raw.putEffort, PUT_EFFORT_MAX)
  if (publishedMs === null || firstSeenDay === null || putEffort === null) return null
  const onion = { kid, x25519, mlkem768 }
  const asked = putEffort === 0 ? {} : { putEffort }
  const claims = { capacityClass, storeQuotaBytes, publishedMs, firstSeenDay, ...asked }
  return { version: 1, network, node, addresses, onion, ...claims, neighbours, family, work }
}

function addressesOf(field: readonly string[] | null | undefined): readonly string[] | null {
  const list = field ?? []
  if (list.length > ADDRESSES_MAX) return null
  return list.every((text) => text.length <= ADDRESS_BYTES_MAX && PRINTABLE_ASCII.test(text)) ? [...list] : null
}
