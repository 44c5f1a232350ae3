/**
 * What a publisher remembers of a site between versions: its packs, their age, and the hash of each block in them, so that the next version
 * can refer to what did not change. Codec, and the rule which packs are still referred to. On the publisher's own disk only (DIR/keys/NAME.site,
 * written whole or not at all); layout: README.md of this folder.
 *
 * None of it is in the index that readers see: when a pack was made, and which blocks it has, is nobody's business. If the file is lost, the
 * next version is uploaded whole, and nothing else happens.
 */
import { CONTENT_BYTES_MAX } from '../../src/content/constants.ts'
import { SITE_PACKS_MAX, SITE_VERSION_MAX, type SitePack } from '../../src/content/site-index.ts'
import { BytesReader, BytesWriter } from '../../src/content/varint.ts'
import { BLOCK_HASH_BYTES, BlockTable, SITE_BLOCKS_MAX } from './block-table.ts'
import { SLICE_BYTES } from './slices.ts'

// Implementation constants.
const STATE_VERSION = 1
const PACK_KEY_BYTES = 32
export const SITE_SECRET_BYTES = 32
const TIME_MAX = 2 ** 48
/** A pack is kept by its holders for 30 days. Blocks in one that is older than this are uploaded anew, so that a version lives for 15 at least. */
export const PACK_AGE_MAX_MS = 15 * 24 * 3600 * 1000
/** A block is at most a slice, or what DEFLATE makes of one that does not shrink, and a gzip header. */
const BLOCK_BYTES_MAX = SLICE_BYTES + 1024

/** A pack, as its publisher knows it. */
export interface KnownPack extends SitePack {
  readonly publishedMs: number
  /** Bytes of it that the newest version uses. */
  readonly liveBytes: number
}

export interface SiteState {
  /** 32 bytes; see `PackerParts.secret`. */
  readonly secret: Uint8Array
  /** The last version that was tried; it may not have come to be published. 0: none. */
  readonly version: number
  /** When it was. */
  readonly publishedMs: number
  readonly packs: readonly KnownPack[]
  /** Blocks of these packs; their numbers are places in `packs`. */
  readonly table: BlockTable
}

/** Which of `packs` a version made at `nowMs` refers to: young, at least half in use, and so few that the next one finds room. */
export function packsToKeep(packs: readonly KnownPack[], nowMs: number): KnownPack[] {
  const sound = packs.filter(({ publishedMs, liveBytes, bytes }) => {
    const ageMs = nowMs - publishedMs
    return ageMs >= 0 && ageMs <= PACK_AGE_MAX_MS && 2 * liveBytes >= bytes
  })
  if (sound.length < SITE_PACKS_MAX) return sound
  // Rewriting the smaller half at once, not the smallest each time: a block of a site that changes often moves a few times, not every time.
  return sound.toSorted((a, b) => b.bytes - a.bytes).slice(0, SITE_PACKS_MAX / 2)
}

/** The state without the packs that are not in `keep`; their blocks get the numbers of `keep`, none in use. */
export function tableOf({ packs, table }: SiteState, keep: readonly KnownPack[]): BlockTable {
  const kept = new BlockTable()
  for (const [number, pack] of keep.entries()) {
    let offset = 0
    for (const { hash, length } of table.blocksOf(packs.indexOf(pack))) {
      kept.add(hash, { pack: number, offset, length }, false)
      offset += length
    }
  }
  return kept
}

export function encodeState({ secret, version, publishedMs, packs, table }: SiteState): Uint8Array {
  const writer = new BytesWriter()
  writer.varint(STATE_VERSION)
  writer.bytes(secret)
  writer.varint(version)
  writer.varint(publishedMs)
  writer.varint(packs.length)
  for (const [number, pack] of packs.entries()) {
    writer.bytes(pack.key)
    writer.varint(pack.bytes)
    writer.varint(pack.publishedMs)
    writer.varint(pack.liveBytes)
    const blocks = [...table.blocksOf(number)]
    writer.varint(blocks.length)
    for (const { hash, length } of blocks) {
      writer.bytes(hash)
      writer.varint(length)
    }
  }
  return writer.finish()
}

/** The state that `bytes` spell, or `null`. */
export function parseState(bytes: Uint8Array): SiteState | null {
  const reader = new BytesReader(bytes)
  if (reader.varint(STATE_VERSION) !== STATE_VERSION) return null
  const secret = reader.bytes(SITE_SECRET_BYTES)?.slice() ?? null
  const version = reader.varint(SITE_VERSION_MAX)
  const publishedMs = reader.varint(TIME_MAX)
  const count = reader.varint(SITE_PACKS_MAX)
  if (secret === null || version === null || publishedMs === null || count === null) return null
  const packs: KnownPack[] = []
  const table = new BlockTable()
  for (let number = 0; number < count; number++) {
    const pack = readPack(reader, table, number)
    if (pack === null) return null
    packs.push(pack)
  }
  return reader.ended ? { secret, version, publishedMs, packs, table } : null
}

function readPack(reader: BytesReader, table: BlockTable, number: number): KnownPack | null {
  const key = reader.bytes(PACK_KEY_BYTES)?.slice() ?? null
  const bytes = reader.varint(CONTENT_BYTES_MAX)
  const publishedMs = reader.varint(TIME_MAX)
  const liveBytes = reader.varint(CONTENT_BYTES_MAX)
  const blocks = reader.varint(SITE_BLOCKS_MAX)
  if (key === null || bytes === null || publishedMs === null || liveBytes === null || blocks === null) return null
  let offset = 0
  for (let block = 0; block < blocks; block++) {
    const hash = reader.bytes(BLOCK_HASH_BYTES)
    const length = reader.varint(BLOCK_BYTES_MAX)
    if (hash === null || length === null || length === 0 || offset + length > bytes) return null
    if (!table.add(hash, { pack: number, offset, length }, false)) return null
    offset += length
  }
  return { key, bytes, publishedMs, liveBytes }
}
