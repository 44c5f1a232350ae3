/**
 * Keeps the directories of all nodes the same. A pure state machine: links that come and go, messages and ticks in, effects out.
 *
 * Two ways, one for speed and one for certainty. A descriptor that is new here is pushed at once to every other neighbour (flood,
 * each hash once per link). And each link reconciles now and then: A sends its digest (one value per bucket); B answers with listings of
 * the buckets that differ; A wants what it lacks and pushes what B lacks. One bucket at random is always listed, equal or not: XOR
 * digests can be made to collide, a random bucket cannot be foreseen. The answer is also the link's heartbeat.
 *
 * A liar can waste its own link only. Whatever a neighbour can make us do is bounded: answers by token buckets, descriptors that were
 * not asked for likewise (signatures are the price), what we ask by a window. Over a budget a message is ignored, since reconciliation
 * repairs it later; what no honest node sends (forged, of another network, without work) closes the link. Spec: SPEC.md §6.3.
 */
import { concat, fromHex, type MonotonicMs, toHex } from '../bytes/index.ts'
import type { LinkCloseReason } from '../link/index.ts'
import { type Rng, shuffled } from '../runtime/index.ts'
import {
  type ControlMessage,
  DESCRIPTOR_HASH_BYTES,
  DIGEST_BUCKET_BYTES,
  DIGEST_BUCKETS,
  LISTED_HASHES_MAX,
  parseSignedDescriptor,
  SENT_DESCRIPTORS_MAX,
  WANTED_HASHES_MAX,
} from '../wire/index.ts'
import { descriptorHash } from './descriptor.ts'
import type { Directory } from './directory.ts'
import { GossipPeer, type Round } from './gossip-peer.ts'

// Implementation constants.
/** How long a round stays open for listings, and a wanted descriptor is waited for, where messages go at once. */
const ROUND_MS = 5_000
/** Where they wait for control slots: so many times the time between two more. Question and answer each wait for one, or some if much waits. */
const ROUND_SLOTS = 6
/** Rounds in a row without any answer after which the link is dead. */
const UNANSWERED_MAX = 3
/** The side that does not begin at once begins after this long and up to twice as long. */
const SECOND_SIDE_MS = 1_000
/** A round that brought news is followed by another one this soon. */
const AFTER_NEWS_MS = 2_000
/** Listings in answer to one digest: 8192 hashes. The rest comes in later rounds. */
const LISTINGS_PER_DIGEST = 8
/** Descriptors pushed in one round because a neighbour's listings lacked them. */
const PUSHED_PER_ROUND = 64
/** Bytes of descriptors in one message. */
const BATCH_BYTES_MAX = 60 * 1024
/** A hash that was fetched and refused is not asked for again for this long; so many are remembered. */
const REFUSED_MS = 60_000
const REFUSED_MAX = 4096
/** A link is quiet when nothing came for this long, after a round that was answered. */
const QUIET_MS = 150

/** What is to be done. `K` names a link. */
export type GossipEffect<K> =
  | { readonly send: ControlMessage; readonly to: K }
  | { readonly close: K; readonly reason: LinkCloseReason }

/** Time between rounds on one link: the larger the network, the more the flood is relied on. */
export function roundIntervalMs(nodes: number): number {
  if (nodes <= 64) return 10_000
  return nodes <= 1_000 ? 30_000 : 60_000
}

export class Gossip<K> {
  readonly #directory: Directory
  readonly #rng: Rng
  readonly #roundMs: number
  readonly #peers = new Map<K, GossipPeer>()
  /** Hashes fetched and refused (old, over a limit), with the time until which they are not wanted again. In order of entry. */
  readonly #refused = new Map<string, number>()
  #outOfWindow = 0

  /** `slotMs`: time between control slots of a link, if it has them (SPEC.md §4.5). */
  constructor(directory: Directory, rng: Rng, slotMs = 0) {
    this.#directory = directory
    this.#rng = rng
    this.#roundMs = ROUND_MS + ROUND_SLOTS * slotMs
  }

  /** A link whose greeting is done. The side with `begins` (one of the two) reconciles at once. */
  linkUp(link: K, begins: boolean, now: MonotonicMs): GossipEffect<K>[] {
    const peer = new GossipPeer(now)
    this.#peers.set(link, peer)
    const wait = SECOND_SIDE_MS * (1 + this.#rng.unit())
    peer.nextRoundAt = begins ? now : now + wait
    return begins ? this.#startRound(link, peer, now) : []
  }

  /** Descriptors that came in a row and were of another time: many of them mean that this node's clock is wrong. */
  get outOfWindow(): number {
    return this.#outOfWindow
  }

  linkDown(link: K): void {
    this.#peers.delete(link)
  }

  /** Whether `link` has answered a round and nothing is under way on it: a guest may leave. */
  quiet(link: K, now: MonotonicMs): boolean {
    const peer = this.#peers.get(link)
    return peer?.answeredOnce === true && peer.asked.size === 0 && peer.wanted.size === 0 && now - peer.heardAt >= QUIET_MS
  }

  /** Pushes a descriptor of this directory to every link that has not seen it: for this node's own. */
  announce(signed: Uint8Array): GossipEffect<K>[] {
    const hash = hashOf(signed)
    return hash === null ? [] : this.#flood([[hash, signed]])
  }

  /** What a neighbour said after the greeting. `hello` and `welcome` do not belong here and end the link. */
  onMessage(link: K, message: ControlMessage, now: MonotonicMs): GossipEffect<K>[] {
    const peer = this.#peers.get(link)
    if (peer === undefined) return []
    if (!peer.messages.take(now)) return [{ close: link, reason: 'overload' }]
    peer.heardAt = now
    switch (message.kind) {
      case 'digest':
        return this.#onDigest(link, peer, message.buckets, now)
      case 'listing':
        return this.#onListing(link, peer, message.buckets, message.hashes, now)
      case 'want':
        return this.#onWant(link, peer, message.hashes, now)
      case 'descriptors':
        return this.onDescriptors(link, message.descriptors, now)
      case 'hello':
      case 'welcome':
        return [{ close: link, reason: 'protocol' }]
    }
  }

  /** Time passes: rounds end and begin, answers that never came are given up. Call it a few times a second. */
  tick(now: MonotonicMs): GossipEffect<K>[] {
    const effects: GossipEffect<K>[] = []
    for (const [link, peer] of this.#peers) {
      for (const [hash, deadline] of peer.asked) if (deadline <= now) peer.asked.delete(hash)
      if (peer.round !== null && peer.round.endsAt <= now) this.#endRound(peer, peer.round, now)
      if (peer.unanswered >= UNANSWERED_MAX) effects.push({ close: link, reason: 'timeout' })
      else if (peer.round === null && peer.nextRoundAt <= now) effects.push(...this.#startRound(link, peer, now))
      effects.push(...this.#ask(link, peer, now))
    }
    return effects
  }

  #startRound(link: K, peer: GossipPeer, now: MonotonicMs): GossipEffect<K>[] {
    peer.round = {
      endsAt: now + this.#roundMs,
      unlisted: new Uint8Array(DIGEST_BUCKETS).fill(1),
      answered: false,
      news: false,
      pushes: PUSHED_PER_ROUND,
    }
    return [{ to: link, send: { kind: 'digest', buckets: this.#directory.digest() } }]
  }

  #endRound(peer: GossipPeer, round: Round, now: MonotonicMs): void {
    peer.round = null
    peer.unanswered = round.answered ? 0 : peer.unanswered + 1
    const usual = roundIntervalMs(this.#directory.size) * (0.75 + this.#rng.unit() / 2) - this.#roundMs
    peer.nextRoundAt = now + (round.news ? AFTER_NEWS_MS : usual)
  }

  /** B's part: lists the buckets that differ, and one more at random. */
  #onDigest(link: K, peer: GossipPeer, theirs: Uint8Array, now: MonotonicMs): GossipEffect<K>[] {
    if (!peer.digests.take(now)) return []
    const ours = this.#directory.digest()
    const listed = new Set([this.#rng.below(DIGEST_BUCKETS)])
    for (let byte = 0; byte < ours.length; byte++)
      if (ours[byte] !== theirs[byte]) listed.add(Math.floor(byte / DIGEST_BUCKET_BYTES))
    const effects: GossipEffect<K>[] = []
    let buckets: number[] = []
    let hashes: string[] = []
    const close = () => {
      if (buckets.length === 0 || effects.length >= LISTINGS_PER_DIGEST) return
      buckets.sort((a, b) => a - b)
      effects.push({ to: link, send: { kind: 'listing', buckets: Uint8Array.from(buckets), hashes: packed(hashes) } })
    }
    // In random order, so that over the rounds every bucket gets its turn when not all fit.
    for (const bucket of shuffled([...listed], this.#rng)) {
      const inBucket = this.#directory.hashesIn(bucket)
      const some = inBucket.length > LISTED_HASHES_MAX ? shuffled(inBucket, this.#rng).slice(0, LISTED_HASHES_MAX) : inBucket
      if (hashes.length + some.length > LISTED_HASHES_MAX) {
        close()
        buckets = []
        hashes = []
      }
      buckets.push(bucket)
      hashes.push(...some)
    }
    close()
    return effects
  }

  /** A's part: wants what it lacks, pushes what the other lacks. A bucket counts once a round; listings nobody asked for do nothing. */
  #onListing(link: K, peer: GossipPeer, buckets: Uint8Array, hashes: Uint8Array, now: MonotonicMs): GossipEffect<K>[] {
    const round = peer.round
    if (round === null) return []
    const theirs = new Set(unpacked(hashes))
    round.answered = true
    peer.answeredOnce = true
    for (const hash of theirs) {
      peer.saw(hash)
      if (this.#wants(hash)) peer.want(hash)
    }
    const lacking: [string, Uint8Array][] = []
    for (const bucket of buckets) {
      if (round.unlisted[bucket] === 0) continue
      round.unlisted[bucket] = 0
      for (const hash of this.#directory.hashesIn(bucket)) {
        if (round.pushes <= 0) break
        const signed = theirs.has(hash) ? undefined : this.#directory.signedByHash(hash)
        if (signed === undefined) continue
        lacking.push([hash, signed])
        round.pushes--
      }
    }
    return [...this.#sendDescriptors(link, peer, lacking), ...this.#ask(link, peer, now)]
  }

  #wants(hash: string): boolean {
    return !this.#directory.hasHash(hash) && !this.#refused.has(hash)
  }

  /** Asks for what is wanted, as far as the window goes and nobody else was asked for it. */
  #ask(link: K, peer: GossipPeer, now: MonotonicMs): GossipEffect<K>[] {
    if (peer.wanted.size === 0 || peer.asked.size >= WANTED_HASHES_MAX) return []
    const asking: string[] = []
    for (const hash of peer.wanted) {
      if (asking.length + peer.asked.size >= WANTED_HASHES_MAX) break
      peer.wanted.delete(hash)
      if (!this.#wants(hash) || this.#isAsked(hash)) continue
      asking.push(hash)
    }
    for (const hash of asking) peer.asked.set(hash, now + this.#roundMs)
    return asking.length === 0 ? [] : [{ to: link, send: { kind: 'want', hashes: packed(asking) } }]
  }

  #isAsked(hash: string): boolean {
    for (const peer of this.#peers.values()) if (peer.asked.has(hash)) return true
    return false
  }

  #onWant(link: K, peer: GossipPeer, hashes: Uint8Array, now: MonotonicMs): GossipEffect<K>[] {
    if (!peer.wants.take(now)) return []
    const found: [string, Uint8Array][] = []
    for (const hash of new Set(unpacked(hashes))) {
      const signed = this.#directory.signedByHash(hash)
      if (signed) found.push([hash, signed])
    }
    return this.#sendDescriptors(link, peer, found)
  }

  /** Takes descriptors from a neighbour (also the one in its greeting): keeps what is good, hands on what is new. */
  onDescriptors(link: K, descriptors: readonly Uint8Array[], now: MonotonicMs): GossipEffect<K>[] {
    const peer = this.#peers.get(link)
    if (peer === undefined) return []
    const fresh: [string, Uint8Array][] = []
    let liar = false
    for (const bytes of descriptors) {
      const hash = hashOf(bytes)
      if (hash === null) {
        liar = true
        break
      }
      peer.saw(hash)
      const asked = peer.asked.delete(hash)
      if (!this.#wants(hash) || !(asked || peer.pushes.take(now))) continue
      const verdict = this.#directory.add(bytes)
      const signed = this.#directory.signedByHash(hash)
      if (verdict === 'added' && signed) {
        this.#outOfWindow = 0
        fresh.push([hash, signed])
        if (peer.round) peer.round.news = true
        continue
      }
      liar = verdict === 'malformed' || verdict === 'foreign' || verdict === 'no-work' || verdict === 'forged'
      if (liar) break
      if (verdict === 'future' || verdict === 'expired') this.#outOfWindow++
      if (verdict !== 'known') this.#refuse(hash, now)
    }
    const effects = this.#flood(fresh)
    effects.push(...(liar ? [{ close: link, reason: 'protocol' } as const] : this.#ask(link, peer, now)))
    return effects
  }

  #refuse(hash: string, now: MonotonicMs): void {
    for (const [old, until] of this.#refused) {
      if (until > now && this.#refused.size < REFUSED_MAX) break
      this.#refused.delete(old)
    }
    this.#refused.set(hash, now + REFUSED_MS)
  }

  #flood(fresh: readonly (readonly [string, Uint8Array])[]): GossipEffect<K>[] {
    if (fresh.length === 0) return []
    const effects: GossipEffect<K>[] = []
    for (const [link, peer] of this.#peers) {
      effects.push(
        ...this.#sendDescriptors(
          link,
          peer,
          fresh.filter(([hash]) => !peer.hasSeen(hash)),
        ),
      )
    }
    return effects
  }

  /** In messages of bounded count and size. */
  #sendDescriptors(link: K, peer: GossipPeer, list: readonly (readonly [string, Uint8Array])[]): GossipEffect<K>[] {
    const effects: GossipEffect<K>[] = []
    let batch: Uint8Array[] = []
    let bytes = 0
    const close = () => {
      if (batch.length > 0) effects.push({ to: link, send: { kind: 'descriptors', descriptors: batch } })
      batch = []
      bytes = 0
    }
    for (const [hash, signed] of list) {
      peer.saw(hash)
      if (batch.length >= SENT_DESCRIPTORS_MAX || bytes + signed.length > BATCH_BYTES_MAX) close()
      batch.push(signed)
      bytes += signed.length
    }
    close()
    return effects
  }
}

function hashOf(bytes: Uint8Array): string | null {
  const signed = parseSignedDescriptor(bytes)
  return signed === null ? null : toHex(descriptorHash(signed))
}

function packed(hashes: readonly string[]): Uint8Array {
  return concat(...hashes.map((hash) => fromHex(hash)!))
}

function unpacked(hashes: Uint8Array): string[] {
  const list: string[] = []
  for (let at = 0; at < hashes.length; at += DESCRIPTOR_HASH_BYTES)
    list.push(toHex(hashes.subarray(at, at + DESCRIPTOR_HASH_BYTES)))
  return list
}
