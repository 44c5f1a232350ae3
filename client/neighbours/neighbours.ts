/**
 * The owner of this node's links: greets, chooses and keeps neighbours, runs the directory's gossip over them, and keeps the own
 * descriptor true. A driver: what is decided is decided in the pure parts beside it (`greeting.ts`, `choice.ts`, `book.ts`,
 * `tries.ts`, `visits.ts`; `src/directory/gossip.ts`); here are links, timers and files: one
 * owner of all of them, which is why the file is long.
 *
 * Why fixed links (DESIGN §1): loops run only over links that were there before and stay after, so that no link ever tells of a loop. So
 * nothing here opens or closes a link because of one. Threats: a node that wants to be everybody's neighbour (random choice, capped
 * weights, a cap on accepted links), one that breaks links to be chosen next (`book.ts`), floods of strangers (bounded sessions,
 * greeting within 5 s), lies in gossip (`gossip.ts`). Limits: at most 16 neighbours, 32 guests, 64 links, 48 of them dialled by others. Spec: SPEC.md §3.4, §6.4.
 */
import { type MonotonicMs, type NodeId, nodeIdOf } from '../../src/bytes/index.ts'
import { type Directory, Gossip, type GossipEffect } from '../../src/directory/index.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import type { Link, LinkCloseReason, LinkHost } from '../../src/link/index.ts'
import type { CellPlane, ControlSink } from '../../src/link/plane.ts'
import type { Logger } from '../../src/log/index.ts'
import { type Clock, ClockJumps, type Rng, type Timer } from '../../src/runtime/index.ts'
import { parseDescriptor, parseSignedDescriptor } from '../../src/wire/index.ts'
import type { Identity } from '../identity.ts'
import type { PeerStatus } from '../library.ts'
import { NeighbourBook } from './book.ts'
import { bootstrapNodes } from './bootstrap.ts'
import { chooseNeighbours } from './choice.ts'
import { ControlLink } from './control-link.ts'
import { NeighbourFiles } from './files.ts'
import { Flappers } from './flappers.ts'
import { GREETING_MS, Greeting, type GreetingEffect, type LinkPurpose } from './greeting.ts'
import { type OwnClaims, Publisher } from './publisher.ts'
import { Tries } from './tries.ts'
import { Visits } from './visits.ts'

// Implementation constants.
/** Links that a descriptor can list: no more are kept. */
const NEIGHBOURS_MAX = 16
const GUESTS_MAX = 32
const SESSIONS_MAX = 64
/** Of these, by others: strangers that fill all of theirs do not keep this node from dialling those that it chose. */
const INBOUND_MAX = 48
/** How long a guest may stay, as host and as guest. */
const GUEST_STAY_MS = 30_000
/** Where all places are taken: a guest may have so long, and who has not greeted. A visit is over in a second or two, a greeting sooner. */
const GUEST_MIN_MS = 10_000
const UNGREETED_MS = 1_000
const VISIT_MAX_MS = 10_000
/** How long a chosen neighbour that went away is waited for before a substitute is sought. */
const AWAY_PATIENCE_MS = 5_000
/** A link that ended sooner counts as a failure. */
const STEADY_MS = 10_000
/** A link that we dialled and whose choice ended stays this long, and up to three times as long. */
const RETIRE_MS = 5 * 60_000
/** Time between looks at everything; shorter while something is being dialled and in the first seconds. */
const TICK_MS = 500
const TICK_BUSY_MS = 100
const UNSETTLED_MS = 30_000
const REVIEW_MS = 60_000
/** After a jump of the wall clock nobody is forgotten for this long: fresh descriptors come, or show that the clock is wrong. */
const JUMP_HOLD_MS = 15 * 60_000
/** So long nobody is forgotten under a clock that jumped and that the others' descriptors speak against. */
const SUSPECT_HOLD_MS = 24 * 3_600_000
/** More descriptors of another time in a row make the clock suspect, in a large network. */
const SUSPECT_MAX = 8
const FIRST_SAVE_MS = 15_000
const SAVE_MS = 5 * 60_000

export interface NeighbourLimits {
  /** How many neighbours this node chooses: 4. */
  readonly choose: number
  /** How many that chose it, and that it did not choose, it accepts: 8. */
  readonly accept: number
}

export interface NeighboursDeps {
  /** Started and closed by `Neighbours`; its `onInbound` is set here. */
  readonly host: LinkHost
  readonly directory: Directory
  readonly plane: CellPlane
  readonly identity: Identity
  /** Multiaddrs with /p2p. */
  readonly bootstrap: readonly string[]
  readonly clock: Clock
  readonly rng: Rng
  readonly log: Logger
  readonly dataDir: string
  readonly limits: NeighbourLimits
  readonly claims: OwnClaims
  /** Control slots of neighbour links, as the switch has them; `null` (the default): there are none. */
  readonly control?: { readonly everyMs: number } | null
}

/** One link from its first cell to its end. */
interface Session {
  readonly link: Link
  readonly control: ControlLink
  readonly greeting: Greeting
  readonly since: MonotonicMs
  /** Once the greeting is done well. */
  agreed: LinkPurpose | null
  /** The other side had no room. */
  refused: boolean
  /** When a link that nobody chose any more is closed. */
  retireAt: number | null
}

export class Neighbours implements ControlSink {
  readonly #deps: NeighboursDeps
  readonly #gossip: Gossip<Session>
  readonly #publisher: Publisher
  readonly #book: NeighbourBook
  readonly #tries: Tries
  readonly #flappers = new Flappers()
  readonly #files: NeighbourFiles
  readonly #visits: Visits
  readonly #closing = new AbortController()
  readonly #sessions = new Map<Link, Session>()
  /** Agreed neighbour links by peer. */
  readonly #linked = new Map<NodeId, Session>()
  /** Peers that this side is dialling or greeting, and what for. */
  readonly #dialling = new Map<NodeId, LinkPurpose>()
  /** Since when a chosen neighbour is away. */
  readonly #awaySince = new Map<NodeId, MonotonicMs>()
  readonly #listeners = new Set<() => void>()
  #timer: Timer | null = null
  #started = false
  #startedAt = 0
  #reviewAt = 0
  #saveAt = 0
  readonly #jumps: ClockJumps
  /** Until when a jump of the wall clock is recent. */
  #jumpedUntil = 0
  /** Until when one may explain that all descriptors are of another time. */
  #suspectUntil = 0
  #closed: Promise<void> | null = null

  /** Errors: `CONFIG_BAD` for a bootstrap address without /p2p. */
  constructor(deps: NeighboursDeps) {
    this.#deps = deps
    const { directory, identity, clock, rng, host, dataDir, limits } = deps
    this.#jumps = new ClockJumps(clock)
    const now = clock.monotonicMs()
    this.#gossip = new Gossip(directory, rng, deps.control?.everyMs)
    this.#book = new NeighbourBook(limits.choose, rng, now)
    this.#tries = new Tries(rng)
    this.#files = new NeighbourFiles({ dataDir, directory, book: this.#book, clock, log: deps.log })
    this.#visits = new Visits(bootstrapNodes(deps.bootstrap, identity.id), rng, now)
    this.#publisher = new Publisher({
      directory,
      identity,
      dataDir,
      clock,
      rng,
      claims: deps.claims,
      addresses: () => host.addresses.map((address) => address.replace(/\/p2p\/[^/]*$/, '')).slice(0, 8),
      neighbours: () => this.all().slice(0, NEIGHBOURS_MAX),
      slots: (deps.control ?? null) !== null,
      onPublished: (signed) => this.#gossipDoes(this.#gossip.announce(signed)),
      onFault: (error) => deps.log.warn('the state of the own descriptor cannot be written', { error }),
    })
    host.onInbound = (link) => this.#onInbound(link)
  }

  /** Reads what is kept on disk, opens the host, publishes the own descriptor. Neighbours come later: see `onChange`. */
  async start(): Promise<void> {
    const { clock, host } = this.#deps
    await this.#files.load()
    await host.start()
    await this.#publisher.start(this.#closing.signal)
    this.#closing.signal.throwIfAborted()
    this.#started = true
    this.#startedAt = clock.monotonicMs()
    this.#saveAt = this.#startedAt + FIRST_SAVE_MS
    // Those of the last run have the first word: substitutes only when they have had time to answer.
    for (const id of this.#book.ids) this.#awaySince.set(id, clock.monotonicMs())
    this.#tick()
  }

  /** Closes every link and the host, saves directory and book. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#shut()
    return this.#closed
  }

  async #shut(): Promise<void> {
    this.#closing.abort()
    this.#timer?.cancel()
    for (const { link } of [...this.#sessions.values()]) link.close('local')
    await this.#deps.host.close()
    await this.#publisher.close()
    if (this.#started) this.#files.save('all')
    await this.#files.written()
    this.#listeners.clear()
  }

  // What others see ---------------------------------------------------------------------------------------------------------------

  /** The neighbour link with `id`, if there is one now. */
  linkTo(id: NodeId): Link | undefined {
    return this.#linked.get(id)?.link
  }

  /** Neighbours that this node chose and is linked with now. */
  chosen(): readonly NodeId[] {
    return this.#book.ids.filter((id) => this.#linked.has(id))
  }

  /** All neighbours linked now. */
  all(): readonly NodeId[] {
    return [...this.#linked.keys()]
  }

  peers(): readonly PeerStatus[] {
    return Array.from(this.#linked.values(), ({ link }) => {
      return { id: link.peer, chosen: this.#book.has(link.peer), transport: link.transport }
    })
  }

  /** Whether as many chosen neighbours are linked as there should be, or as the network has. */
  get settled(): boolean {
    const possible = Math.min(this.#deps.limits.choose, this.#deps.directory.size - 1)
    return this.#started && possible > 0 && this.chosen().length >= possible
  }

  /** Whether all descriptors that came of late were of another time: then this machine's clock is wrong, and others refuse this node's. */
  get clockSuspect(): boolean {
    return this.#gossip.outOfWindow > Math.min(this.#deps.directory.size, SUSPECT_MAX)
  }

  /** Whether the date was set by more than a correction a short while ago. */
  get clockJumped(): boolean {
    return this.#deps.clock.monotonicMs() < this.#jumpedUntil
  }

  /** Onion keys or addresses have changed: the descriptor is published anew, soon. */
  republish(): void {
    if (this.#started) this.#publisher.soon()
  }

  /** Calls `listener` when a neighbour came or went. Returns the way to stop. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #changed(): void {
    this.republish()
    for (const listener of [...this.#listeners]) listener()
  }

  // Links -------------------------------------------------------------------------------------------------------------------------

  #onInbound(link: Link): void {
    let inbound = 0
    for (const other of this.#sessions.keys()) if (!other.dialled) inbound++
    const full = inbound >= INBOUND_MAX || this.#sessions.size >= SESSIONS_MAX
    if (!this.#started || this.#closing.signal.aborted) return link.close('overload')
    if (full && !this.#sendAway(null, UNGREETED_MS)) return link.close('overload')
    this.#open(link, 'guest') // the dialler's purpose comes with its Hello
  }

  /**
   * Ends the link of who came longest ago, was agreed on as `agreed` (`null`: has not greeted) and has been here for `ms`. `false`: there is none.
   * Who takes places and does nothing with them keeps others out for no longer than that.
   */
  #sendAway(agreed: 'guest' | null, ms: number): boolean {
    const now = this.#deps.clock.monotonicMs()
    for (const session of this.#sessions.values()) {
      const { link, since } = session
      if (link.dialled || session.agreed !== agreed || !link.open || now - since < ms) continue
      link.close('overload')
      return true
    }
    return false
  }

  #open(link: Link, purpose: LinkPurpose): void {
    const greeting = new Greeting(link.dialled, purpose, {
      network: this.#deps.directory.rules.network,
      descriptor: () => this.#publisher.signed,
      meet: (descriptor, theirPurpose) => this.#meet(link.peer, descriptor, theirPurpose),
      admit: (theirPurpose) => this.#admit(link.peer, theirPurpose),
    })
    const since = this.#deps.clock.monotonicMs()
    const session: Session = {
      link,
      control: new ControlLink(link),
      greeting,
      since,
      agreed: null,
      refused: false,
      retireAt: null,
    }
    this.#sessions.set(link, session)
    link.start(this.#deps.plane.receiver)
    this.#greetingDoes(session, greeting.begin())
  }

  onControlCell(link: Link, body: Uint8Array): void {
    const session = this.#sessions.get(link)
    if (session === undefined) return
    const message = session.control.take(body)
    if (message === null) return
    if (message === 'malformed') return link.close('protocol')
    if (!session.greeting.done) this.#greetingDoes(session, session.greeting.onMessage(message))
    else if (session.agreed !== null) this.#gossipDoes(this.#gossip.onMessage(session, message, this.#deps.clock.monotonicMs()))
  }

  onLinkClosed(link: Link, reason: LinkCloseReason): void {
    const session = this.#sessions.get(link)
    if (session === undefined) return
    this.#sessions.delete(link)
    session.control.drop()
    this.#gossip.linkDown(session)
    const now = this.#deps.clock.monotonicMs()
    if (link.dialled) this.#dialEnded(link.peer, session, now)
    if (this.#linked.get(link.peer) !== session) return
    this.#linked.delete(link.peer)
    this.#deps.plane.removeNeighbour(link)
    if (this.#book.has(link.peer)) this.#awaySince.set(link.peer, now)
    // `local`: closed here, because a newer link of the same pair took its place.
    if (!link.dialled && reason !== 'local' && now - session.since < STEADY_MS) this.#flappers.flapped(link.peer, now)
    this.#changed()
  }

  /** A link that this side dialled is gone: a visit has ended, or a try has failed. */
  #dialEnded(peer: NodeId, session: Session, now: MonotonicMs): void {
    if (session.greeting.purpose === 'guest') this.#visits.ended(peer, session.agreed === null ? 'badly' : 'well', now)
    else if (session.refused) this.#tries.unsuccessful(peer, 'refused', now)
    else if (session.agreed === null || now - session.since < STEADY_MS) this.#tries.unsuccessful(peer, 'failed', now)
    if (session.agreed === null || session.agreed === 'guest') this.#dialling.delete(peer)
  }

  #greetingDoes(session: Session, effects: readonly GreetingEffect[]): void {
    for (const effect of effects) {
      switch (effect.do) {
        case 'send':
          session.control.send(effect.message)
          break
        case 'agreed':
          this.#agreed(session, effect.purpose)
          break
        case 'refused':
          session.refused = true
          break
        case 'close':
          session.link.close(effect.reason)
          break
      }
    }
  }

  #gossipDoes(effects: readonly GossipEffect<Session>[]): void {
    for (const effect of effects) {
      if ('close' in effect) effect.close.link.close(effect.reason)
      else effect.to.control.send(effect.send)
    }
  }

  /** Whether a greeting's descriptor is the peer's own and good; what is new goes on to the others. */
  #meet(peer: NodeId, signed: Uint8Array, purpose: LinkPurpose): boolean {
    const { directory } = this.#deps
    const outer = parseSignedDescriptor(signed)
    const fields = outer && parseDescriptor(outer.descriptor)
    if (fields === null || nodeIdOf(fields.node) !== peer) return false
    const verdict = directory.add(signed)
    if (verdict === 'added') this.#gossipDoes(this.#gossip.announce(directory.signedOf(peer) ?? signed))
    if (verdict === 'malformed' || verdict === 'foreign' || verdict === 'no-work' || verdict === 'forged') return false
    // A neighbour that this node cannot describe could be on no loop; a guest may come with a wrong clock, or to a full directory.
    return purpose === 'guest' || directory.get(peer) !== undefined
  }

  #admit(peer: NodeId, purpose: LinkPurpose): boolean {
    const sessions = [...this.#sessions.values()]
    if (purpose === 'guest') {
      const guests = sessions.filter(({ agreed, link }) => agreed === 'guest' && !link.dialled && link.open).length
      return guests < GUESTS_MAX || this.#sendAway('guest', GUEST_MIN_MS)
    }
    if (this.#linked.has(peer)) return true // a new link of the same pair: the host has settled which one stays
    if (this.#linked.size >= NEIGHBOURS_MAX || !this.#flappers.mayCome(peer, this.#deps.clock.monotonicMs())) return false
    const accepted = [...this.#linked.values()].filter(({ link }) => !link.dialled && !this.#book.has(link.peer))
    return this.#book.has(peer) || accepted.length < this.#deps.limits.accept
  }

  #agreed(session: Session, purpose: LinkPurpose): void {
    const { link } = session
    const { clock, directory, plane } = this.#deps
    const now = clock.monotonicMs()
    session.agreed = purpose
    if (purpose === 'neighbour') {
      this.#dialling.delete(link.peer)
      const before = this.#linked.get(link.peer)
      this.#linked.set(link.peer, session)
      if (before) {
        plane.removeNeighbour(before.link)
        before.link.close('local')
      }
      plane.addNeighbour(link)
      const slots = plane.controlLane?.(link) ?? null
      if (slots !== null) session.control.pace(slots)
      if (link.dialled) this.#book.add(link.peer, directory.size, clock.unixMs(), now)
      this.#book.sawLinked(link.peer, clock.unixMs())
      this.#awaySince.delete(link.peer)
      if (link.dialled) this.#tries.successful(link.peer)
    }
    this.#gossipDoes(this.#gossip.linkUp(session, link.dialled, now))
    if (purpose !== 'neighbour') return
    this.#changed()
    this.#files.save('book')
  }

  // Choosing and dialling ---------------------------------------------------------------------------------------------------------

  #dial(peer: NodeId, addresses: readonly string[], purpose: LinkPurpose): void {
    this.#dialling.set(peer, purpose)
    this.#tryDial(peer, addresses, purpose).catch((error: unknown) => {
      // Unreachable, or closing: known to the peer's own waits. Anything else is a fault of ours.
      if (!isOverlayError(error) && !this.#closing.signal.aborted)
        this.#deps.log.error('a dial failed in an unknown way', { error })
      const now = this.#deps.clock.monotonicMs()
      this.#dialling.delete(peer)
      if (purpose === 'guest') this.#visits.ended(peer, 'badly', now)
      else this.#tries.unsuccessful(peer, isOverlayError(error, 'LINK_DUPLICATE') ? 'busy' : 'failed', now)
    })
  }

  async #tryDial(peer: NodeId, addresses: readonly string[], purpose: LinkPurpose): Promise<void> {
    const link = await this.#deps.host.dial(peer, addresses, { signal: this.#closing.signal })
    if (this.#closing.signal.aborted || this.#sessions.size >= SESSIONS_MAX) {
      link.close('local')
      throw new OverlayError('overload', 'LINK_LIMIT', 'No further link may be opened.')
    }
    this.#open(link, purpose)
  }

  /** Visits that are due, and as many chosen neighbours as are missing. */
  #seek(now: MonotonicMs): void {
    const { directory, limits, identity, rng, clock } = this.#deps
    for (const node of this.#visits.due(now, this.#linked.size === 0, (id) => this.#linked.has(id))) {
      if (this.#dialling.has(node.id)) this.#visits.ended(node.id, 'badly', now)
      else this.#dial(node.id, node.addresses, 'guest')
    }
    const underWay = [...this.#dialling.values()].filter((purpose) => purpose === 'neighbour').length
    let missing = limits.choose - this.chosen().length - underWay
    if (missing <= 0 || !(this.#book.ids.length > 0 || this.#visits.heardEnough(now, directory.size))) return
    for (const id of this.#book.ids) {
      if (this.#linked.has(id) || this.#dialling.has(id)) continue
      const addresses = directory.get(id)?.addresses ?? []
      if (missing > 0 && addresses.length > 0 && this.#tries.ready(id, now)) {
        this.#dial(id, addresses, 'neighbour')
        missing--
      } else if (now - (this.#awaySince.get(id) ?? 0) < AWAY_PATIENCE_MS) {
        missing--
      }
    }
    if (missing <= 0 || !this.#book.mayChoose(now)) return
    const skip = (id: NodeId) => this.#dialling.has(id) || !this.#tries.ready(id, now)
    for (const id of chooseNeighbours({
      view: directory,
      self: identity.id,
      chosen: this.#book.ids,
      skip,
      count: missing,
      rng,
    })) {
      // One that chose us is as good as any other: then the link is there already.
      if (this.#linked.has(id)) this.#book.add(id, directory.size, clock.unixMs(), now)
      else this.#dial(id, directory.get(id)?.addresses ?? [], 'neighbour')
    }
  }

  // Time --------------------------------------------------------------------------------------------------------------------------

  #tick(): void {
    const { clock } = this.#deps
    const now = clock.monotonicMs()
    this.#gossipDoes(this.#gossip.tick(now))
    this.#lookAtClock(now)
    for (const session of [...this.#sessions.values()]) this.#look(session, now)
    this.#seek(now)
    if (now >= this.#reviewAt) this.#review(now)
    if (now >= this.#saveAt) {
      this.#saveAt = now + SAVE_MS
      this.#files.save('all')
    }
    const busy = this.#dialling.size > 0 || (!this.settled && now - this.#startedAt < UNSETTLED_MS)
    this.#timer = clock.setTimer(busy ? TICK_BUSY_MS : TICK_MS, () => this.#tick())
  }

  /** One session's deadlines. */
  #look(session: Session, now: MonotonicMs): void {
    const { link, greeting, control, since, agreed } = session
    control.pump()
    if (!greeting.done && now - since >= GREETING_MS) return this.#greetingDoes(session, greeting.onTimeout())
    if (agreed === 'guest' && link.dialled) {
      if (this.#gossip.quiet(session, now) || now - since >= VISIT_MAX_MS) link.close('local')
    } else if (agreed === 'guest') {
      if (now - since >= GUEST_STAY_MS) link.close('local')
    } else if (agreed === 'neighbour' && session.retireAt !== null && now >= session.retireAt) {
      link.close('local')
    }
  }

  /** After a jump of the wall clock the own descriptor is of another time, and the others' only seem to be. */
  #lookAtClock(now: MonotonicMs): void {
    const jumpMs = this.#jumps.look()
    if (jumpMs === 0) return
    this.#deps.log.warn('the clock of this machine was set, or it slept; if this was neither, set the clock right', {
      ms: jumpMs,
    })
    this.#jumpedUntil = now + JUMP_HOLD_MS
    this.#suspectUntil = now + SUSPECT_HOLD_MS
    this.republish()
  }

  /**
   * Whether nodes are forgotten by the date: not right after a jump, and not while all that comes is of another time. A clock that is wrong for an
   * hour must not cost the node everybody that it knows. Bounded, since whoever sends such descriptors could make it last.
   */
  #mayExpire(now: MonotonicMs): boolean {
    return now >= this.#jumpedUntil && (now >= this.#suspectUntil || !this.clockSuspect)
  }

  #review(now: MonotonicMs): void {
    const { directory, clock, rng, log } = this.#deps
    this.#reviewAt = now + REVIEW_MS
    const expired = this.#mayExpire(now) ? directory.expire() : 0
    if (expired > 0) log.debug('descriptors expired', { count: expired })
    for (const id of this.#book.review(directory.size, (each) => this.#linked.has(each), clock.unixMs()))
      this.#awaySince.delete(id)
    // What we dialled and do not choose any more goes, once the choice is full again; what others dialled is theirs to end.
    for (const session of this.#linked.values()) {
      if (!session.link.dialled || this.#book.has(session.link.peer)) session.retireAt = null
      else if (this.settled) session.retireAt ??= now + RETIRE_MS * (1 + 2 * rng.unit())
    }
    this.#files.save('book')
  }
}
