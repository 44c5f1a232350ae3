/**
 * What an origin asks of a holder of records, the answers, and what is inside of a record for who knows its address. Signatures, times and
 * sequences are checked by holder and reader (`src/content/record.ts`), not here. Spec: SPEC.md §10.
 */
import { type NodeId, nodeIdBytes, nodeIdOf } from '../bytes/index.ts'
import { gyre } from './generated/messages.js'
import {
  MLKEM768_FIELD_BYTES,
  NODE_ID_BYTES,
  RECORD_EFFORT_MAX,
  RECORD_KEY_BYTES,
  RECORD_PLAIN_BYTES,
  RECORD_POINT_BYTES,
  RECORD_POINTS_MAX,
  RECORD_PORTS_MAX,
  RECORD_REPLY_BYTES_MAX,
  RECORD_REQUEST_BYTES_MAX,
  RECORD_SNAPSHOT_BYTES,
  RECORD_VALUE_BYTES,
  SIGNATURE_FIELD_BYTES,
  WORK_BYTES,
  X25519_FIELD_BYTES,
} from './limits.ts'
import { bytesField, decodeWith, encodeWith, integerField } from './protobuf.ts'

/** A record as its holders see it. */
export interface SignedRecord {
  /** 32 bytes: the blinded key of one period. */
  readonly publicKey: Uint8Array
  /** Below 2^53. */
  readonly sequence: number
  /** Unix milliseconds, below 2^53. */
  readonly expiresMs: number
  /** 3104 bytes: salt and sealed `KeyRecord`. */
  readonly value: Uint8Array
  /** 64 bytes, not verified. */
  readonly signature: Uint8Array
}
export interface PutRecord {
  readonly kind: 'put'
  readonly record: SignedRecord
  /** None, or 8 bytes. */
  readonly work: Uint8Array
}
export interface GetRecord {
  readonly kind: 'get'
  /** 32 bytes. */
  readonly publicKey: Uint8Array
}
export type RecordRequest = PutRecord | GetRecord

/** The current version of a key's site. */
export interface SitePart {
  /** 32 bytes: key material of the `file` that is the version's index. */
  readonly snapshot: Uint8Array
  /** From 1. */
  readonly version: number
  /** All files together. */
  readonly bytes: number
  readonly files: number
}
export interface ServicePoint {
  readonly node: NodeId
  /** 32 bytes: name of the introduction point at that node. */
  readonly point: Uint8Array
}
/** How a key's live service is reached. */
export interface ServicePart {
  /** 32 bytes: static key of the handshake. */
  readonly x25519: Uint8Array
  /** 1184 bytes; whether it is a key is checked by who uses it. */
  readonly mlkem768: Uint8Array
  /** 1 to 8. */
  readonly points: readonly ServicePoint[]
  /** 1 to 16, each once. */
  readonly ports: readonly number[]
  /** Bits of work that an introduction must bring: 0 to 32. */
  readonly effort: number
}
/** What a key's owner says, for who knows the address. */
export interface KeyRecord {
  /** The key's own counter over all periods: from 1, below 2^46. */
  readonly sequence: number
  readonly site: SitePart | null
  readonly service: ServicePart | null
}

const { RecordRequest: RequestCodec, RecordReply: ReplyCodec, Record: RecordCodec, KeyRecord: KeyCodec } = gyre.record
/** A record's own counter, 64 times, leaves room for the period's offset below 2^53. */
export const KEY_SEQUENCE_MAX = 2 ** 46 - 1
const PORT_MAX = 65_535
const FILES_MAX = 0xffff_ffff

export function encodeRecordRequest(request: RecordRequest): Uint8Array {
  return encodeWith(
    RequestCodec,
    request.kind === 'put' ? { put: { record: request.record, work: request.work } } : { get: { publicKey: request.publicKey } },
  )
}

/** `null` for anything that is no request within the limits. Never throws. */
export function parseRecordRequest(bytes: Uint8Array): RecordRequest | null {
  const raw = decodeWith(RequestCodec, bytes, RECORD_REQUEST_BYTES_MAX)
  if (raw?.body === 'get') {
    const publicKey = bytesField(raw.get?.publicKey, RECORD_KEY_BYTES)
    return publicKey && { kind: 'get', publicKey }
  }
  if (raw?.body !== 'put') return null
  const record = recordOf(raw.put?.record)
  const work = bytesField(raw.put?.work, 0, WORK_BYTES)
  if (record === null || work === null || (work.length !== 0 && work.length !== WORK_BYTES)) return null
  return { kind: 'put', record, work }
}

export function encodeRecordReply(record: SignedRecord): Uint8Array {
  return encodeWith(ReplyCodec, { record })
}

/** The record of an answer; `null` for anything else. Never throws. */
export function parseRecordReply(bytes: Uint8Array): SignedRecord | null {
  return recordOf(decodeWith(ReplyCodec, bytes, RECORD_REPLY_BYTES_MAX)?.record)
}

/** A record alone, as holders keep it on disk. */
export function encodeSignedRecord(record: SignedRecord): Uint8Array {
  return encodeWith(RecordCodec, record)
}

/** As `parseRecordReply`, of a record alone. */
export function parseSignedRecord(bytes: Uint8Array): SignedRecord | null {
  return recordOf(decodeWith(RecordCodec, bytes, RECORD_REPLY_BYTES_MAX))
}

function recordOf(raw: gyre.record.Record.$Properties | null | undefined): SignedRecord | null {
  const publicKey = bytesField(raw?.publicKey, RECORD_KEY_BYTES)
  const sequence = integerField(raw?.sequence)
  const expiresMs = integerField(raw?.expiresMs)
  const value = bytesField(raw?.value, RECORD_VALUE_BYTES)
  const signature = bytesField(raw?.signature, SIGNATURE_FIELD_BYTES)
  if (!publicKey || sequence === null || expiresMs === null || !value || !signature) return null
  return { publicKey, sequence, expiresMs, value, signature }
}

/** At most `RECORD_PLAIN_BYTES` - 2 bytes for a record within the limits. */
export function encodeKeyRecord({ sequence, site, service }: KeyRecord): Uint8Array {
  return encodeWith(KeyCodec, {
    sequence,
    site,
    service: service && {
      x25519: service.x25519,
      mlkem768: service.mlkem768,
      points: service.points.map(({ node, point }) => ({ node: nodeIdBytes(node), point })),
      ports: [...service.ports],
      effort: service.effort,
    },
  })
}

/** `null` for anything that is no record within the limits. Never throws. */
export function parseKeyRecord(bytes: Uint8Array): KeyRecord | null {
  const raw = decodeWith(KeyCodec, bytes, RECORD_PLAIN_BYTES)
  const sequence = integerField(raw?.sequence, KEY_SEQUENCE_MAX)
  if (raw === null || sequence === null || sequence === 0) return null
  const site = raw.site ? siteOf(raw.site) : null
  const service = raw.service ? serviceOf(raw.service) : null
  if ((raw.site && site === null) || (raw.service && service === null)) return null
  return { sequence, site, service }
}

function siteOf(raw: gyre.record.Site.$Properties): SitePart | null {
  const snapshot = bytesField(raw.snapshot, RECORD_SNAPSHOT_BYTES)
  const version = integerField(raw.version)
  const bytes = integerField(raw.bytes)
  const files = integerField(raw.files, FILES_MAX)
  if (snapshot === null || version === null || version === 0 || bytes === null || files === null) return null
  return { snapshot, version, bytes, files }
}

function serviceOf(raw: gyre.record.Service.$Properties): ServicePart | null {
  const x25519 = bytesField(raw.x25519, X25519_FIELD_BYTES)
  const mlkem768 = bytesField(raw.mlkem768, MLKEM768_FIELD_BYTES)
  const effort = integerField(raw.effort, RECORD_EFFORT_MAX)
  const points = raw.points ?? []
  const ports = raw.ports ?? []
  if (x25519 === null || mlkem768 === null || effort === null) return null
  if (points.length < 1 || points.length > RECORD_POINTS_MAX) return null
  if (ports.length < 1 || ports.length > RECORD_PORTS_MAX || new Set(ports).size !== ports.length) return null
  if (ports.some((port) => integerField(port, PORT_MAX) === null || port === 0)) return null
  const read: ServicePoint[] = []
  for (const each of points) {
    const node = bytesField(each.node, NODE_ID_BYTES)
    const point = bytesField(each.point, RECORD_POINT_BYTES)
    if (node === null || point === null) return null
    read.push({ node: nodeIdOf(node), point })
  }
  return { x25519, mlkem768, points: read, ports: [...ports], effort }
}
