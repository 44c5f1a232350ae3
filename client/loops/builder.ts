/**
 * Builds one loop: draws a path, sends the set-up packet round once, and checks what came home. Tries another path when one fails, or a second
 * one beside it when it takes longer than others did, and draws round the nodes that failed loops have in common (`evidence.ts`).
 * Spec: SPEC.md §4.3, §4.4, §6.5. Threat met: members that never pass a set-up on, or answer for another (the confirmations).
 */
import type { NodeId } from '../../src/bytes/index.ts'
import { type CircuitEnd, type LoopEnd, type LoopPort, type OnionPublicKeys, OriginLayers } from '../../src/circuit/index.ts'
import {
  buildSetUp,
  EPOCH_MS,
  refusePlan,
  type SetUpMember,
  type SetUpPlan,
  swiftPlan,
  wipeLayer,
} from '../../src/circuit/setup/index.ts'
import { CELL_KEY_BYTES, type CellCipher, wipe } from '../../src/crypto/index.ts'
import type { DirectoryView } from '../../src/directory/index.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import type { Clock, Rng } from '../../src/runtime/index.ts'
import { encodeHopRequest, parseHopReply, type Twin } from '../../src/wire/index.ts'
import { firstOf, Hedges } from '../first-of.ts'
import type { LoopPreference } from '../paths.ts'
import { askAgain } from './asking.ts'
import { Evidence } from './evidence.ts'
import { OriginLoop } from './origin-loop.ts'
import { PacedLoop } from './paced-loop.ts'
import { drawStart, twinGapMs } from './set-up-time.ts'

// Implementation constants.
/**
 * A set-up that is not home after this long is lost (each hop costs a fraction of a millisecond, each link a round trip). One of a paced loop
 * waits for control slots, and has time until the loop is to be live.
 */
export const BUILD_TIMEOUT_MS = 3_000
const ATTEMPTS = 4
const SWIFT_ATTEMPTS = Array.from({ length: ATTEMPTS }, (_, at) => at)
/** Set-ups beside others, of this node: they are most when all is slow. */
const HEDGES_MAX = 2
/**
 * A set-up of a swift loop that takes longer than the smoothed time of those before and this many mean deviations is late; before any was
 * seen, and the bounds of that time.
 */
const LATE_DEVIATIONS = 4
const LATE_FIRST_MS = 1_000
const LATE_MIN_MS = 300
const LATE_MAX_MS = 1_500
/** Paths that are drawn for a loop that should reach certain nodes. */
const COVERING_DRAWS = 8

export interface LoopBuilderDeps {
  readonly network: Uint8Array
  readonly self: NodeId
  readonly onionKeys: { readonly published: OnionPublicKeys; claim(kid: number, ephemeral: Uint8Array): boolean }
  readonly view: DirectoryView
  /** Draws a path (`client/paths.ts`), or `null` if the links that are up give none. */
  draw(apex: NodeId | undefined, avoid: ReadonlySet<NodeId>, preference?: LoopPreference): DrawnPath | null
  readonly port: LoopPort
  readonly cipher: CellCipher
  readonly clock: Clock
  readonly rng: Rng
}

const NONE: ReadonlySet<NodeId> = new Set()

/** Other members in order, and which of them is the apex. */
export interface DrawnPath {
  readonly hops: readonly NodeId[]
  readonly apexIndex: number
}

export interface Building {
  readonly signal: AbortSignal
  /** Nobody waits for it: no path is tried beside another. */
  readonly patient?: boolean
  /** For the loops of a pseudonym. */
  readonly preference?: LoopPreference
  /** Nodes that the loop should have among its members: of some draws, that which has most of them is taken. */
  readonly cover?: () => ReadonlySet<NodeId>
  /** Called for each draw, before its set-up goes out: others that are drawn meanwhile may cover what this one does not. */
  readonly onDrawn?: (hops: readonly NodeId[]) => void
}

/** For a paced loop: its rate and times, the same for all attempts. */
export interface PacedBuilding extends Building {
  /** Not `swift` (`pacedPlan`). */
  readonly plan: SetUpPlan
  /** See `PacedLoopParts.onWorn`. */
  readonly onWorn?: () => void
}

export type LoopEndHandler = (loop: OriginLoop, reason: string) => void
export type PacedEndHandler = (loop: PacedLoop, reason: string) => void

/** Makes the loop whose set-up came home. */
type LoopMaker<L> = (parts: { number: number; hops: readonly NodeId[]; apexIndex: number; layers: OriginLayers }) => L

export class LoopBuilder {
  /** Loops built so far: numbers them. */
  #built = 0
  readonly #deps: LoopBuilderDeps
  /** What all loops of this node tell about the nodes on them. */
  readonly evidence = new Evidence()
  readonly #hedges = new Hedges(HEDGES_MAX)
  /** Smoothed time of a swift set-up and its mean deviation (as in RFC 6298); NaN before the first. */
  #tookMs = Number.NaN
  #deviationMs = 0

  constructor(deps: LoopBuilderDeps) {
    this.#deps = deps
  }

  /**
   * A loop with `apex`, or with any node in the middle. Errors: `NETWORK_TOO_SMALL`, `LOOP_NO_PATH`, `LOOP_FAILED`, or the signal's reason.
   */
  build(apex: NodeId | undefined, onEnd: LoopEndHandler, building: Building): Promise<OriginLoop> {
    const { clock } = this.#deps
    return firstOf(SWIFT_ATTEMPTS, {
      clock,
      signal: building.signal,
      hedges: this.#hedges,
      hedgeMs: building.patient === true || this.isVague ? BUILD_TIMEOUT_MS : this.#lateMs,
      most: BUILD_TIMEOUT_MS,
      attempt: (_, signal) => this.#attemptSwift(apex, onEnd, building, signal),
      discard: (loop) => loop.close(),
      failed: (errors) => (errors.every((error) => isOverlayError(error, 'LOOP_NO_PATH')) ? errors[0] : notHome(errors.at(-1))),
    })
  }

  async #attemptSwift(
    apex: NodeId | undefined,
    onEnd: LoopEndHandler,
    building: Building,
    signal: AbortSignal,
  ): Promise<OriginLoop> {
    const { clock } = this.#deps
    const { evidence } = this
    const path = this.#draw(apex, building)
    building.onDrawn?.(path.hops)
    const began = clock.monotonicMs()
    const missed = () => evidence.missed(path.hops, began, clock.monotonicMs())
    const late = clock.setTimer(this.#lateMs, missed)
    try {
      const loop = await this.#attempt(path, null, (parts) => new OriginLoop({ ...parts, clock, evidence, onEnd }), signal)
      this.#took(clock.monotonicMs() - began)
      evidence.came(path.hops, began)
      return loop
    } catch (error) {
      // What was not wanted any more tells nothing; neither does what never went.
      if (!signal.aborted && isOverlayError(error, 'LOOP_FAILED') && error.kind === 'unreachable') missed()
      throw error
    } finally {
      late.cancel()
    }
  }

  /** Whether so many are suspected that it says nothing: then it may be this node, or all of the network, that is slow. */
  get isVague(): boolean {
    return 2 * this.evidence.count(this.#deps.clock.monotonicMs()) > this.#deps.view.size
  }

  /** Whether `node` is one of few that are suspected. */
  isSuspect(node: NodeId): boolean {
    return this.evidence.isSuspect(node, this.#deps.clock.monotonicMs()) && !this.isVague
  }

  /** How long a swift set-up may take before it is late. */
  get #lateMs(): number {
    if (Number.isNaN(this.#tookMs)) return LATE_FIRST_MS
    return Math.min(LATE_MAX_MS, Math.max(LATE_MIN_MS, this.#tookMs + LATE_DEVIATIONS * this.#deviationMs))
  }

  #took(ms: number): void {
    if (Number.isNaN(this.#tookMs)) {
      this.#tookMs = ms
      this.#deviationMs = ms / 2
      return
    }
    this.#deviationMs += (Math.abs(ms - this.#tookMs) - this.#deviationMs) / 4
    this.#tookMs += (ms - this.#tookMs) / 8
  }

  /** The same with a paced clock. It is there before it is live, and goes on as filler after it was closed. */
  buildPaced(apex: NodeId | undefined, onEnd: PacedEndHandler, building: PacedBuilding): Promise<PacedLoop> {
    const { clock, rng } = this.#deps
    const { plan, onWorn } = building
    const start = drawStart(rng)
    return this.#buildPaced(apex, building, plan, (parts) => new PacedLoop({ ...parts, plan, start, clock, onEnd, onWorn }))
  }

  /**
   * A twin of `root`: another circuit through the same members, of which each is told in a cell of `root`, the last member first, so that all know
   * at about the same time. Errors: `LOOP_FAILED`, or the signal's reason.
   */
  async buildTwin(
    root: PacedLoop,
    place: number,
    onEnd: PacedEndHandler,
    { signal, plan, onWorn }: PacedBuilding,
  ): Promise<PacedLoop> {
    const { cipher, clock, rng } = this.#deps
    const { hops, start } = root
    const secrets = hops.map(() => ({ cellKey: rng.bytes(CELL_KEY_BYTES), answerKey: rng.bytes(CELL_KEY_BYTES) }))
    const own = rng.bytes(CELL_KEY_BYTES)
    const layers = new OriginLayers(cipher, secrets, own)
    wipe(own)
    const apexIndex = hops.indexOf(root.apex)
    const loop = new PacedLoop({ number: ++this.#built, hops, apexIndex, layers, plan, start, clock, onEnd, onWorn })
    const launched = root.launchTwin(place, plan, loop)
    const deadline = clock.deadline(Math.max(0, plan.liveEpoch * EPOCH_MS - clock.unixMs()), signal)
    try {
      if (launched === null) throw new OverlayError('overload', 'LOOP_FAILED', 'The loop can have no twin now.')
      loop.attach(launched)
      const told: Promise<void>[] = []
      for (let at = hops.length - 1; at >= 0; at--) {
        const telling = tellOfTwin(root, hops[at]!, { kind: 'twin', place, ...secrets[at]!, ...timesOf(plan) }, deadline.signal)
        telling.catch(() => {}) // all are told, whatever one says; then it counts
        told.push(telling)
        if (at > 0) await clock.sleep(twinGapMs(plan.holdMs, root.rate), { signal: deadline.signal }).catch(() => {})
      }
      await Promise.all(told)
      return loop
    } catch (error) {
      loop.close()
      loop.onOver()
      launched?.close()
      if (signal.aborted) throw signal.reason
      throw new OverlayError('unreachable', 'LOOP_FAILED', 'Not all members of the loop agreed to a twin in time.', error)
    } finally {
      for (const { cellKey, answerKey } of secrets) wipe(cellKey, answerKey)
      deadline.clear()
    }
  }

  async #buildPaced(
    apex: NodeId | undefined,
    building: Building,
    plan: SetUpPlan,
    make: LoopMaker<PacedLoop>,
  ): Promise<PacedLoop> {
    const { clock } = this.#deps
    const { signal } = building
    let failure: unknown
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      signal.throwIfAborted()
      if (refusePlan(plan, clock.unixMs()) !== null) break // no time is left
      const { hops, apexIndex } = this.#draw(apex, building)
      building.onDrawn?.(hops)
      const began = clock.monotonicMs()
      try {
        const loop = await this.#attempt({ hops, apexIndex }, plan, make, signal)
        this.evidence.came(hops, began)
        return loop
      } catch (error) {
        if (signal.aborted) throw signal.reason
        failure = error
        this.evidence.missed(hops, began, clock.monotonicMs())
      }
    }
    throw notHome(failure)
  }

  #draw(apex: NodeId | undefined, building: Building): DrawnPath {
    const { preference } = building
    const cover = building.cover?.() ?? NONE
    let best: DrawnPath | null = null
    let most = -1
    for (let left = cover.size > 0 ? COVERING_DRAWS : 1; left > 0 && most < cover.size; left--) {
      const drawn = this.#drawRound(apex, preference)
      if (drawn === null) break
      const covered = drawn.hops.filter((hop) => cover.has(hop)).length
      if (covered > most) [best, most] = [drawn, covered]
    }
    if (best === null) throw new OverlayError('unreachable', 'LOOP_NO_PATH', 'No loop can be drawn on the links that are up.')
    return best
  }

  /** A path round all suspects; if there is none, round the likeliest half of them, and so on. The apex is who was asked for. */
  #drawRound(apex: NodeId | undefined, preference: LoopPreference | undefined): DrawnPath | null {
    const suspects = this.evidence.suspects(this.#deps.clock.monotonicMs()).filter((id) => id !== apex)
    for (let count = suspects.length; count > 0; count >>= 1) {
      const drawn = this.#deps.draw(apex, new Set(suspects.slice(0, count)), preference)
      if (drawn !== null) return drawn
    }
    return this.#deps.draw(apex, NONE, preference)
  }

  async #attempt<L extends OriginLoop | PacedLoop>(
    { hops, apexIndex }: DrawnPath,
    paced: SetUpPlan | null,
    make: LoopMaker<L>,
    signal: AbortSignal,
  ): Promise<L> {
    const { network, self, onionKeys, view, port, clock, rng } = this.#deps
    const members = hops.map((id): SetUpMember => {
      const onion = view.get(id)?.onion
      if (onion === undefined) throw new OverlayError('unreachable', 'LOOP_FAILED', 'A member left the directory.')
      return { id, onion }
    })
    const plan = paced ?? swiftPlan(clock.unixMs())
    const { packet, pending } = buildSetUp({
      network,
      members,
      self: { id: self, onion: onionKeys.published },
      claim: (kid, ephemeral) => onionKeys.claim(kid, ephemeral),
      plan,
      rng,
    })
    const last = hops[hops.length - 1]!
    const { promise, resolve, reject } = Promise.withResolvers<L>()
    const onReturn = (returned: Uint8Array): LoopEnd | null => {
      const layers = pending.complete(returned, last)
      if (layers === null) return null
      const own = rng.bytes(CELL_KEY_BYTES)
      const loop = make({ number: ++this.#built, hops, apexIndex, layers: new OriginLayers(this.#deps.cipher, layers, own) })
      for (const layer of layers) wipeLayer(layer)
      wipe(own)
      resolve(loop)
      return loop
    }
    const onGone = (reason: CircuitEnd) => reject(new OverlayError('unreachable', 'LOOP_FAILED', `The set-up ended: ${reason}.`))
    const launched = port.launch({ first: hops[0]!, last, plan, packet, ephemeral: pending.ephemeral, onReturn, onGone })
    if (launched === null) {
      pending.wipe()
      throw new OverlayError('overload', 'LOOP_FAILED', 'The first link takes no set-up now.')
    }
    const timeoutMs = paced === null ? BUILD_TIMEOUT_MS : Math.max(0, paced.liveEpoch * EPOCH_MS - clock.unixMs())
    const deadline = clock.deadline(timeoutMs, signal)
    const onAbort = () => reject(deadline.signal.reason)
    deadline.signal.addEventListener('abort', onAbort, { once: true })
    try {
      const built = await promise
      built.attach(launched)
      return built
    } catch (error) {
      launched.close()
      throw error
    } finally {
      deadline.clear()
      deadline.signal.removeEventListener('abort', onAbort)
      pending.wipe()
    }
  }
}

function notHome(cause: unknown): OverlayError {
  return new OverlayError('unreachable', 'LOOP_FAILED', 'No loop came home over several paths, or in time.', cause)
}

function timesOf({ rate, liveEpoch, closeEpoch, holdMs }: SetUpPlan) {
  return { rate, liveEpoch, closeEpoch, holdMs }
}

async function tellOfTwin(root: PacedLoop, hop: NodeId, wish: Twin, signal: AbortSignal): Promise<void> {
  const reply = parseHopReply(await askAgain(() => root.askAtOnce(hop, encodeHopRequest(wish), { signal })))
  if (reply?.status !== 'ok') throw new OverlayError('overload', 'LOOP_FAILED', 'A member has no room for a twin.')
}
