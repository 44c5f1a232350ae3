/** What an origin asks of a store, and the answers. Hashes and signatures are checked by store and reader, not here. Spec: SPEC.md §7. */
import type { Pieces } from '../bytes/index.ts'
import { gyre } from './generated/messages.js'
import {
  CHECK_NONCE_BYTES,
  CHECK_PROOF_BYTES,
  KEEP_HOURS_MAX,
  SHARE_ADDRESS_BYTES,
  SHARE_BYTES,
  SIGNATURE_FIELD_BYTES,
  SLOT_KEY_BYTES,
  SLOT_LOCATION_BYTES,
  SLOT_NUMBER_MAX,
  SLOT_VALUE_BYTES_MAX,
  SLOT_VALUE_HASH_BYTES,
  SLOT_VARIANTS_MAX,
  STORE_REPLY_BYTES_MAX,
  STORE_REQUEST_BYTES_MAX,
  WORK_BYTES,
} from './limits.ts'
import { bytesField, decodeWith, encodeWith, fieldAround, integerField, viewField } from './protobuf.ts'

export interface PutShare {
  readonly kind: 'put-share'
  /** 65536 bytes. */
  readonly share: Uint8Array
  /** 0: the store's default. At most a year and a day. */
  readonly keepHours: number
  /** None, or 8 bytes. */
  readonly work: Uint8Array
}
export interface GetShare {
  readonly kind: 'get-share'
  /** 32 bytes. */
  readonly address: Uint8Array
}
/** One signed variant of a root slot. */
export interface StoredSlot {
  /** 32 bytes: Ed25519. */
  readonly publicKey: Uint8Array
  /** 0 to 65535. */
  readonly slot: number
  /** Sealed root, 1 byte to 32 KiB. */
  readonly value: Uint8Array
  /** 64 bytes, not verified. */
  readonly signature: Uint8Array
}
export interface PutSlot extends StoredSlot {
  readonly kind: 'put-slot'
  readonly keepHours: number
  readonly work: Uint8Array
}
export interface GetSlot {
  readonly kind: 'get-slot'
  /** 32 bytes. */
  readonly location: Uint8Array
}
/** Asks for a proof that the share is there, and to keep it on. */
export interface CheckShare {
  readonly kind: 'check-share'
  /** 32 bytes. */
  readonly address: Uint8Array
  /** 16 bytes, new for each check. */
  readonly nonce: Uint8Array
  /** From now; 0: its time stays as it is. */
  readonly keepHours: number
  readonly work: Uint8Array
}
/** The same for one value of a root slot. */
export interface CheckSlot {
  readonly kind: 'check-slot'
  /** 32 bytes. */
  readonly location: Uint8Array
  /** 32 bytes: which of the values there. */
  readonly valueHash: Uint8Array
  readonly nonce: Uint8Array
  readonly keepHours: number
  readonly work: Uint8Array
}
export type StoreRequest = PutShare | GetShare | PutSlot | GetSlot | CheckShare | CheckSlot

export interface StoreReply {
  /** 65536 bytes, not verified; `null`: none. */
  readonly share: Uint8Array | null
  /** At most 4. */
  readonly slots: readonly StoredSlot[]
  /** 32 bytes, for a check, not verified. */
  readonly proof?: Uint8Array
}

const { StoreRequest: RequestCodec, StoreReply: ReplyCodec, PutShare: PutShareCodec } = gyre.store
/** Field numbers of store.proto: `StoreRequest.put_share`, and `share` in `PutShare` and `StoreReply`. */
const PUT_SHARE_FIELD = 1
const SHARE_FIELD = 1

export function encodeStoreRequest(request: StoreRequest): Uint8Array {
  switch (request.kind) {
    case 'put-share':
      return encodeWith(RequestCodec, { putShare: { share: request.share, keepHours: request.keepHours, work: request.work } })
    case 'get-share':
      return encodeWith(RequestCodec, { getShare: { address: request.address } })
    case 'put-slot': {
      const { publicKey, slot, value, signature, keepHours, work } = request
      return encodeWith(RequestCodec, { putSlot: { publicKey, slot, value, signature, keepHours, work } })
    }
    case 'get-slot':
      return encodeWith(RequestCodec, { getSlot: { location: request.location } })
    case 'check-share': {
      const { address, nonce, keepHours, work } = request
      return encodeWith(RequestCodec, { checkShare: { address, nonce, keepHours, work } })
    }
    case 'check-slot': {
      const { location, valueHash, nonce, keepHours, work } = request
      return encodeWith(RequestCodec, { checkSlot: { location, valueHash, nonce, keepHours, work } })
    }
  }
}

/** As `encodeStoreRequest`, with a share passed on as it is: its bytes must not change until they were sent. */
export function storeRequestPieces(request: StoreRequest): Pieces {
  if (request.kind !== 'put-share') return encodeStoreRequest(request)
  const terms = encodeWith(PutShareCodec, { keepHours: request.keepHours, work: request.work })
  return fieldAround(PUT_SHARE_FIELD, [terms, ...fieldAround(SHARE_FIELD, request.share)])
}

/** `null` for anything that SPEC.md §7 does not allow. Never throws; a share is a view of `bytes`, other fields are copies. */
export function parseStoreRequest(bytes: Uint8Array): StoreRequest | null {
  const raw = decodeWith(RequestCodec, bytes, STORE_REQUEST_BYTES_MAX)
  switch (raw?.body) {
    case 'putShare': {
      const share = viewField(raw.putShare?.share, SHARE_BYTES)
      const terms = termsOf(raw.putShare)
      return share && terms && { kind: 'put-share', share, ...terms }
    }
    case 'getShare': {
      const address = bytesField(raw.getShare?.address, SHARE_ADDRESS_BYTES)
      return address && { kind: 'get-share', address }
    }
    case 'putSlot': {
      const slot = slotOf(raw.putSlot)
      const terms = termsOf(raw.putSlot)
      return slot && terms && { kind: 'put-slot', ...slot, ...terms }
    }
    case 'getSlot': {
      const location = bytesField(raw.getSlot?.location, SLOT_LOCATION_BYTES)
      return location && { kind: 'get-slot', location }
    }
    case 'checkShare': {
      const address = bytesField(raw.checkShare?.address, SHARE_ADDRESS_BYTES)
      const nonce = bytesField(raw.checkShare?.nonce, CHECK_NONCE_BYTES)
      const terms = termsOf(raw.checkShare)
      return address && nonce && terms && { kind: 'check-share', address, nonce, ...terms }
    }
    case 'checkSlot': {
      const location = bytesField(raw.checkSlot?.location, SLOT_LOCATION_BYTES)
      const valueHash = bytesField(raw.checkSlot?.valueHash, SLOT_VALUE_HASH_BYTES)
      const nonce = bytesField(raw.checkSlot?.nonce, CHECK_NONCE_BYTES)
      const terms = termsOf(raw.checkSlot)
      return location && valueHash && nonce && terms && { kind: 'check-slot', location, valueHash, nonce, ...terms }
    }
    default:
      return null
  }
}

export function encodeStoreReply(reply: StoreReply): Uint8Array {
  const { share, slots, proof = null } = reply
  return encodeWith(ReplyCodec, { share, slots: [...slots], proof })
}

/** As `encodeStoreReply`, with a share passed on as it is. */
export function storeReplyPieces(reply: StoreReply): Pieces {
  return reply.share === null ? encodeStoreReply(reply) : fieldAround(SHARE_FIELD, reply.share)
}

/** A share is a view of `bytes`. `null` for a share or proof of another length, too many slots, or a slot that is not whole. Never throws. */
export function parseStoreReply(bytes: Uint8Array): StoreReply | null {
  const raw = decodeWith(ReplyCodec, bytes, STORE_REPLY_BYTES_MAX)
  if (raw === null || (raw.slots?.length ?? 0) > SLOT_VARIANTS_MAX) return null
  const has = (raw.share?.length ?? 0) > 0
  const share = has ? viewField(raw.share, SHARE_BYTES) : null
  if (has && share === null) return null
  const slots: StoredSlot[] = []
  for (const each of raw.slots ?? []) {
    const slot = slotOf(each)
    if (slot === null) return null
    slots.push(slot)
  }
  if ((raw.proof?.length ?? 0) === 0) return { share, slots }
  const proof = bytesField(raw.proof, CHECK_PROOF_BYTES)
  return proof && { share, slots, proof }
}

function slotOf(raw: gyre.store.SlotValue.$Properties | null | undefined): StoredSlot | null {
  const publicKey = bytesField(raw?.publicKey, SLOT_KEY_BYTES)
  const slot = integerField(raw?.slot, SLOT_NUMBER_MAX)
  const value = bytesField(raw?.value, 1, SLOT_VALUE_BYTES_MAX)
  const signature = bytesField(raw?.signature, SIGNATURE_FIELD_BYTES)
  return publicKey && slot !== null && value && signature ? { publicKey, slot, value, signature } : null
}

/** What a writer asks for and pays: how long to keep, and the proof of work. */
function termsOf(raw: { keepHours?: number | null; work?: Uint8Array | null } | null | undefined) {
  const keepHours = integerField(raw?.keepHours, KEEP_HOURS_MAX)
  const work = bytesField(raw?.work, 0, WORK_BYTES)
  return keepHours !== null && work !== null && (work.length === 0 || work.length === WORK_BYTES) ? { keepHours, work } : null
}
