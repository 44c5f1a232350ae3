/**
 * Which node holds which share: rendezvous hashing (Thaler and Ravishankar, 1996) over the nodes of the directory, so that publisher, readers
 * and holders find the same answer without asking anybody. Spec: SPEC.md §7.5.
 *
 * score(share, node) = the first 6 bytes, little-endian, of AES-256 under H("gyre/1 place" ‖ share ‖ period) of the first 16 bytes of
 * H("gyre/1 holder" ‖ node id). The highest score is first. A node that wants one share in particular has to try about as many identities
 * as there are nodes, as with a plain hash; what the cipher buys is one call for a share in place of one for each share and node.
 *
 * A segment is placed evenly: no node gets two shares more than another. Within that, each share in turn takes its best node.
 * Threat: losing many nodes at once (P9); a node that gathers a whole segment.
 */
import { le32, type NodeId, nodeIdBytes, readU48 } from '../bytes/index.ts'
import { PERMUTED_BLOCK_BYTES, permuteBlocks, taggedHash } from '../crypto/index.ts'
import { LABEL_HOLDER, LABEL_PLACE, PLACEMENT_PERIOD } from './constants.ts'

// Implementation constant.
/** Nodes whose blocks are remembered, the longest known go first: as many as a directory holds. */
const BLOCKS_MAX = 65_536

/** Blocks of nodes that were ranked before. They never change, and computing them is nine tenths of the work of a new view. */
const blocks = new Map<NodeId, Uint8Array>()

/** The first 16 bytes of H("gyre/1 holder" ‖ node id). Not to be changed. */
function blockOf(node: NodeId): Uint8Array {
  const known = blocks.get(node)
  if (known !== undefined) return known
  if (blocks.size >= BLOCKS_MAX) blocks.delete(blocks.keys().next().value!)
  const block = taggedHash(LABEL_HOLDER, nodeIdBytes(node)).slice(0, PERMUTED_BLOCK_BYTES)
  blocks.set(node, block)
  return block
}

/** One view of the directory, prepared for ranking. Immutable; make a new one when the view changes. */
export class Ranking {
  /** The nodes, in order of their ids, each once. */
  readonly nodes: readonly NodeId[]
  readonly period: number
  /** 16 bytes for each node, in the same order. */
  readonly #blocks: Uint8Array

  constructor(nodes: readonly NodeId[], period: number = PLACEMENT_PERIOD) {
    // Lower-case hex sorts like the bytes that it spells.
    this.nodes = [...new Set(nodes)].sort()
    this.period = period
    this.#blocks = new Uint8Array(this.nodes.length * PERMUTED_BLOCK_BYTES)
    for (let at = 0; at < this.nodes.length; at++) this.#blocks.set(blockOf(this.nodes[at]!), at * PERMUTED_BLOCK_BYTES)
  }

  /** One score for each node, in the order of `nodes`. `place`: a share's address or a root slot's location (32 bytes). */
  #scores(place: Uint8Array): Float64Array {
    const scores = new Float64Array(this.nodes.length)
    if (scores.length === 0) return scores
    const permuted = permuteBlocks(taggedHash(LABEL_PLACE, place, le32(this.period)), this.#blocks)
    for (let at = 0; at < scores.length; at++) scores[at] = readU48(permuted, at * PERMUTED_BLOCK_BYTES)
    return scores
  }

  /** Every node, the first-ranking first; equal scores by node id. */
  order(place: Uint8Array): NodeId[] {
    const scores = this.#scores(place)
    return this.nodes
      .map((_, at) => at)
      .sort((a, b) => scores[b]! - scores[a]! || a - b)
      .map((at) => this.nodes[at]!)
  }

  /** The `count` (few) first-ranking nodes in their order, without ranking the others. */
  firsts(place: Uint8Array, count: number): NodeId[] {
    const scores = this.#scores(place)
    const best: number[] = []
    for (let at = 0; at < scores.length; at++) {
      if (best.length === count && scores[at]! <= scores[best[count - 1]!]!) continue
      const behind = best.findIndex((other) => scores[other]! < scores[at]!)
      best.splice(behind < 0 ? best.length : behind, 0, at)
      if (best.length > count) best.pop()
    }
    return best.map((at) => this.nodes[at]!)
  }

  /**
   * The holder of each of a segment's shares, in share order: the best-ranking node that does not have its even part of the segment yet.
   * With n shares on N nodes, n mod N nodes get one more than floor(n/N). Empty if there are no nodes.
   */
  place(places: readonly Uint8Array[]): NodeId[] {
    const count = this.nodes.length
    if (count === 0) return []
    const base = Math.floor(places.length / count)
    let raised = places.length % count
    const held = new Uint16Array(count)
    return places.map((place) => {
      const scores = this.#scores(place)
      let best = -1
      for (let at = 0; at < count; at++) {
        const limit = raised > 0 ? base + 1 : base
        if (held[at]! < limit && (best < 0 || scores[at]! > scores[best]!)) best = at
      }
      held[best]!++
      if (held[best]! > base) raised--
      return this.nodes[best]!
    })
  }
}
