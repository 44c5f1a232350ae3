/**
 * The only door to the protobuf runtime. Decoding is total: bytes over a limit, and bytes that are no message of the type, are `null`;
 * nothing throws. What comes out is still untrusted (protobuf checks neither presence nor length): the `parse*` functions beside this
 * file do that, and copy every field, so that no value keeps a peer's whole message alive and none is a `Buffer`. Fields that are nearly
 * the whole message (a share in its envelopes) are views instead: copies of them made the collector a fifth of a node's work.
 */
import protobuf from 'protobufjs/minimal.js'
import { lengthOf, type Pieces, piecesOf } from '../bytes/index.ts'

/** What a generated class offers of itself. */
interface Codec<Properties, Decoded> {
  encode(message: Properties, writer?: protobuf.Writer): protobuf.Writer
  decode(reader: protobuf.Reader | Uint8Array, length?: number): Decoded
}

/** `message` as a new array of its own (no pool behind it). */
export function encodeWith<Properties, Decoded>(codec: Codec<Properties, Decoded>, message: Properties): Uint8Array {
  return new Uint8Array(codec.encode(message, new protobuf.Writer()).finish())
}

/** The message, its fields unchecked and borrowed from `bytes`; `null` if `bytes` is over `maxBytes` or no such message. */
export function decodeWith<Properties, Decoded>(
  codec: Codec<Properties, Decoded>,
  bytes: Uint8Array,
  maxBytes: number,
): Decoded | null {
  if (bytes.length > maxBytes) return null
  try {
    // A plain view, so that fields of a Buffer come out as Uint8Array too.
    return codec.decode(new protobuf.Reader(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)))
  } catch {
    return null // the runtime's way to say that the bytes are malformed
  }
}

/** A copy of a field of `min` to `max` bytes, or `null`. */
export function bytesField(field: Uint8Array | null | undefined, min: number, max: number = min): Uint8Array | null {
  const length = field?.length ?? 0
  if (length < min || length > max) return null
  return field ? new Uint8Array(field) : new Uint8Array(0)
}

/** A view of a field of `min` to `max` bytes, as long-lived as the message, or `null`. For what is nearly the whole message. */
export function viewField(field: Uint8Array | null | undefined, min: number, max: number = min): Uint8Array | null {
  const length = field?.length ?? 0
  if (length < min || length > max) return null
  return field && length > 0 ? field : new Uint8Array(0)
}

/** A length-delimited field around `content`, which is not copied: its tag and length, then the pieces. */
export function fieldAround(field: number, content: Pieces): readonly Uint8Array[] {
  const head = protobuf.Writer.create()
    .uint32((field << 3) | 2)
    .uint32(lengthOf(content))
    .finish()
  return [new Uint8Array(head), ...piecesOf(content)]
}

/** Copies of `field`'s elements if there are at most `maxCount`, each of `min` to `max` bytes; else `null`. */
export function bytesList(
  field: readonly Uint8Array[] | null | undefined,
  maxCount: number,
  min: number,
  max: number = min,
): Uint8Array[] | null {
  const list = field ?? []
  if (list.length > maxCount || list.some((element) => element.length < min || element.length > max)) return null
  return list.map((element) => new Uint8Array(element))
}

/** Hashes or ids back to back: a copy if the length is a multiple of `unit` and at most `maxCount` units; else `null`. */
export function packedField(field: Uint8Array | null | undefined, unit: number, maxCount: number): Uint8Array | null {
  const length = field?.length ?? 0
  if (length % unit !== 0 || length > unit * maxCount) return null
  return field ? new Uint8Array(field) : new Uint8Array(0)
}

/** An integer from 0 to `max`, or `null`. 64-bit fields come as `Long` objects; what no number can hold exactly is refused. */
export function integerField(field: unknown, max: number = Number.MAX_SAFE_INTEGER): number | null {
  const value = typeof field === 'object' && field !== null && 'toNumber' in field ? longOf(field) : (field ?? 0)
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= max ? value : null
}

function longOf(field: { readonly toNumber: unknown }): unknown {
  return typeof field.toNumber === 'function' ? field.toNumber.call(field) : null
}
