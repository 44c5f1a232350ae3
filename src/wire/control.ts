/** The messages that neighbours exchange in CONTROL cells: our own types, encoder and total parser. Spec: SPEC.md §3.4. */
import { gyre } from './generated/messages.js'
import {
  CONTROL_BYTES_MAX,
  DESCRIPTOR_HASH_BYTES,
  DIGEST_BUCKET_BYTES,
  DIGEST_BUCKETS,
  LISTED_HASHES_MAX,
  NETWORK_ID_BYTES,
  SENT_DESCRIPTORS_MAX,
  SIGNED_DESCRIPTOR_BYTES_MAX,
  WANTED_HASHES_MAX,
} from './limits.ts'
import { bytesField, bytesList, decodeWith, encodeWith, integerField, packedField } from './protobuf.ts'

/** First message of each side on a link. `version` and `network` are not judged here. */
export interface Hello {
  readonly kind: 'hello'
  readonly version: number
  /** 32 bytes. */
  readonly network: Uint8Array
  /** The dialling side's; of the dialled side it means nothing. */
  readonly purpose: 'neighbour' | 'guest'
  /** The sender's own signed descriptor, 1 to 4096 bytes, not verified. */
  readonly descriptor: Uint8Array
}
/** The dialled side's answer. */
export interface Welcome {
  readonly kind: 'welcome'
  readonly accepted: boolean
}
/** 256 buckets of 8 bytes. */
export interface Digest {
  readonly kind: 'digest'
  readonly buckets: Uint8Array
}
/** What the sender has in the named buckets. */
export interface Listing {
  readonly kind: 'listing'
  /** One byte a bucket, strictly rising, 1 to 256. */
  readonly buckets: Uint8Array
  /** 32-byte descriptor hashes, back to back; at most 1024. */
  readonly hashes: Uint8Array
}
export interface Want {
  readonly kind: 'want'
  /** 32-byte descriptor hashes, back to back; 1 to 64. */
  readonly hashes: Uint8Array
}
export interface Descriptors {
  readonly kind: 'descriptors'
  /** Signed descriptors, exact bytes, each 1 to 4096; 1 to 32 of them. Not verified. */
  readonly descriptors: readonly Uint8Array[]
}
export type ControlMessage = Hello | Welcome | Digest | Listing | Want | Descriptors

const { Control, Hello: HelloCodec } = gyre.link

/** The sender keeps it within 64 KiB: by count of hashes, and for descriptors by their bytes. */
export function encodeControl(message: ControlMessage): Uint8Array {
  switch (message.kind) {
    case 'hello': {
      const { version, network, descriptor } = message
      const purpose = message.purpose === 'guest' ? HelloCodec.Purpose.GUEST : HelloCodec.Purpose.NEIGHBOUR
      return encodeWith(Control, { hello: { version, network, purpose, descriptor } })
    }
    case 'welcome':
      return encodeWith(Control, { welcome: { accepted: message.accepted } })
    case 'digest':
      return encodeWith(Control, { digest: { buckets: message.buckets } })
    case 'listing':
      return encodeWith(Control, { listing: { buckets: message.buckets, hashes: message.hashes } })
    case 'want':
      return encodeWith(Control, { want: { hashes: message.hashes } })
    case 'descriptors':
      return encodeWith(Control, { descriptors: { descriptors: [...message.descriptors] } })
  }
}

/** The message, or `null` for anything that SPEC.md §3.4 does not allow. Never throws; the fields are copies. */
export function parseControl(bytes: Uint8Array): ControlMessage | null {
  const control = decodeWith(Control, bytes, CONTROL_BYTES_MAX)
  switch (control?.body) {
    case 'hello':
      return helloOf(control.hello)
    case 'welcome':
      return { kind: 'welcome', accepted: control.welcome?.accepted === true }
    case 'digest': {
      const buckets = bytesField(control.digest?.buckets, DIGEST_BUCKETS * DIGEST_BUCKET_BYTES)
      return buckets && { kind: 'digest', buckets }
    }
    case 'listing': {
      const buckets = bytesField(control.listing?.buckets, 1, DIGEST_BUCKETS)
      const hashes = packedField(control.listing?.hashes, DESCRIPTOR_HASH_BYTES, LISTED_HASHES_MAX)
      return buckets && hashes && rises(buckets) ? { kind: 'listing', buckets, hashes } : null
    }
    case 'want': {
      const hashes = packedField(control.want?.hashes, DESCRIPTOR_HASH_BYTES, WANTED_HASHES_MAX)
      return hashes && hashes.length > 0 ? { kind: 'want', hashes } : null
    }
    case 'descriptors': {
      const list = bytesList(control.descriptors?.descriptors, SENT_DESCRIPTORS_MAX, 1, SIGNED_DESCRIPTOR_BYTES_MAX)
      return list && list.length > 0 ? { kind: 'descriptors', descriptors: list } : null
    }
    default:
      return null
  }
}

function helloOf(hello: gyre.link.Hello.$Properties | null | undefined): Hello | null {
  const version = integerField(hello?.version, 0xffff_ffff)
  const network = bytesField(hello?.network, NETWORK_ID_BYTES)
  const descriptor = bytesField(hello?.descriptor, 1, SIGNED_DESCRIPTOR_BYTES_MAX)
  const purpose = integerField(hello?.purpose, HelloCodec.Purpose.GUEST)
  if (version === null || network === null || descriptor === null || purpose === null) return null
  return { kind: 'hello', version, network, purpose: purpose === 1 ? 'guest' : 'neighbour', descriptor }
}

function rises(buckets: Uint8Array): boolean {
  for (let at = 1; at < buckets.length; at++) if (buckets[at]! <= buckets[at - 1]!) return false
  return true
}
