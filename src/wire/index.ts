/**
 * Public face of the wire messages: our own types, `encode*`, and total `parse*` functions that give a value or `null` for any input
 * and check presence, every length and every count. The generated protobuf code stays behind it. Spec: SPEC.md §3.4, §5, §6, §7.
 */
export {
  type ControlMessage,
  type Descriptors,
  type Digest,
  encodeControl,
  type Hello,
  type Listing,
  parseControl,
  type Want,
  type Welcome,
} from './control.ts'
export {
  type DescriptorFields,
  encodeDescriptor,
  encodeSignedDescriptor,
  parseDescriptor,
  parseSignedDescriptor,
  type SignedDescriptorFields,
} from './descriptor.ts'
export {
  encodeHopReply,
  encodeHopRequest,
  type HopReply,
  type HopRequest,
  type HopStatus,
  type Ping,
  parseHopReply,
  parseHopRequest,
  type StoreCall,
} from './hop.ts'
export {
  ADDRESS_BYTES_MAX,
  ADDRESSES_MAX,
  CAPACITY_CLASS_MAX,
  CONTROL_BYTES_MAX,
  DESCRIPTOR_HASH_BYTES,
  DIGEST_BUCKET_BYTES,
  DIGEST_BUCKETS,
  FAMILY_MAX,
  HOP_REPLY_BYTES_MAX,
  HOP_REQUEST_BYTES_MAX,
  KEEP_HOURS_MAX,
  LISTED_HASHES_MAX,
  LISTED_NEIGHBOURS_MAX,
  NETWORK_ID_BYTES,
  NODE_ID_BYTES,
  PING_BYTES_MAX,
  SENT_DESCRIPTORS_MAX,
  SHARE_BYTES,
  SIGNED_DESCRIPTOR_BYTES_MAX,
  SLOT_VALUE_BYTES_MAX,
  SLOT_VARIANTS_MAX,
  STORE_REPLY_BYTES_MAX,
  STORE_REQUEST_BYTES_MAX,
  WANTED_HASHES_MAX,
  WORK_BYTES,
} from './limits.ts'
export {
  encodeStoreReply,
  encodeStoreRequest,
  type GetShare,
  type GetSlot,
  type PutShare,
  type PutSlot,
  parseStoreReply,
  parseStoreRequest,
  type StoredSlot,
  type StoreReply,
  type StoreRequest,
} from './store.ts'
