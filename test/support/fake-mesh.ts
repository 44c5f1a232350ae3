/** A mesh on a fake clock with taps on every link: what most tests of whole circuits start from. */
import type { Loop } from '../../client/loops/loop.ts'
import type { OriginLoop } from '../../client/loops/origin-loop.ts'
import type { PacedLoop } from '../../client/loops/paced-loop.ts'
import { EPOCH_MS, epochAfter, pacedPlan } from '../../src/circuit/setup/index.ts'
import { encodeHopRequest, type HopReply, parseHopReply } from '../../src/wire/index.ts'
import { MeshTaps } from './adversary-link.ts'
import { FakeClock } from './fake-clock.ts'
import { type Mesh, type MeshOptions, startMesh } from './mesh.ts'
import { launchRaw, type RawOrigin } from './raw-origin.ts'
import { type SeededRng, seededRng } from './seeded-rng.ts'

export interface PacedLoopWish {
  /** Indexes of nodes. */
  readonly hops?: readonly number[]
  /** Index into `RATE_LADDER`. Default: 2, 128 cells a second. */
  readonly rate?: number
  /** From now to `live` at least, and from there to `close`. Default: 2.5 s, a minute. */
  readonly leadMs?: number
  readonly lifeMs?: number
  readonly holdMs?: number
}

export interface FakeMesh {
  readonly mesh: Mesh
  readonly clock: FakeClock
  readonly rng: SeededRng
  readonly taps: MeshTaps
  /** Builds a loop from node `index`, along its path or along `hops` (indexes). Ends go to `ended`. */
  build(index?: number, hops?: readonly number[]): Promise<OriginLoop>
  /** The same with a paced clock. The loop is there before it is live. */
  buildPaced(index?: number, wish?: PacedLoopWish): Promise<PacedLoop>
  buildRaw(index?: number): Promise<RawOrigin>
  /** Why loops of `build` ended, by loop. */
  readonly ended: Map<Loop, string>
  /** Asks the apex's store, which by default gives the request back. */
  echo(loop: Loop, request: Uint8Array, withinMs?: number): Promise<Uint8Array>
  /** Asks the apex for `answerBytes` with `fillerBytes` of request. */
  ping(loop: Loop, fillerBytes: number, answerBytes: number): Promise<HopReply>
  close(): Promise<void>
}

const never = new AbortController()

export async function startFakeMesh(
  seed: number | string,
  {
    onClock,
    ...options
  }: Partial<Omit<MeshOptions, 'clock' | 'rng' | 'wrap'>> & { readonly onClock?: (clock: FakeClock) => void } = {},
): Promise<FakeMesh> {
  const clock = new FakeClock()
  onClock?.(clock)
  const rng = seededRng(seed)
  const taps = new MeshTaps()
  const mesh = await clock.runFor(startMesh({ count: 6, clock, rng, wrap: taps.wrap, ...options }))
  const ended = new Map<Loop, string>()
  const ask = (loop: Loop, request: Uint8Array, withinMs?: number) => clock.runFor(loop.ask(request, never), withinMs)
  return {
    mesh,
    clock,
    rng,
    taps,
    ended,
    build(index = 0, hops) {
      const node = mesh.nodes[index]!
      const apexIndex = Math.floor((hops?.length ?? 0) / 2)
      if (hops !== undefined) node.path = { hops: hops.map((hop) => mesh.nodes[hop]!.id), apexIndex }
      return clock.runFor(node.builder.build(undefined, (loop, reason) => ended.set(loop, reason), never))
    },
    buildPaced(index = 0, { hops, rate = 2, leadMs = 2_500, lifeMs = 60_000, holdMs } = {}) {
      const node = mesh.nodes[index]!
      const apexIndex = Math.floor((hops?.length ?? 0) / 2)
      if (hops !== undefined) node.path = { hops: hops.map((hop) => mesh.nodes[hop]!.id), apexIndex }
      const now = clock.unixMs()
      const liveEpoch = epochAfter(now, leadMs)
      const wish = { clock: 'steady', rate, liveEpoch, closeEpoch: liveEpoch + lifeMs / EPOCH_MS } as const
      const plan = pacedPlan(now, holdMs === undefined ? wish : { ...wish, holdMs })
      const onEnd = (loop: PacedLoop, reason: string) => void ended.set(loop, reason)
      return clock.runFor(node.builder.buildPaced(undefined, onEnd, { signal: never.signal, plan }))
    },
    async buildRaw(index = 0) {
      const launched = launchRaw(mesh, index, clock, rng)
      await clock.runUntil(() => launched.ready() !== null, 5_000)
      const origin = launched.ready()
      if (origin === null) throw new Error('the loop did not come home')
      return origin
    },
    async echo(loop, request, withinMs) {
      const reply = parseHopReply(await ask(loop, encodeHopRequest({ kind: 'store', request }), withinMs))
      if (reply?.status !== 'ok') throw new Error(`the store says ${reply?.status}`)
      return reply.body
    },
    async ping(loop, fillerBytes, answerBytes) {
      return parseHopReply(await ask(loop, encodeHopRequest({ kind: 'ping', filler: new Uint8Array(fillerBytes), answerBytes })))!
    },
    async close() {
      taps.release()
      await clock.runFor(mesh.close())
      await clock.settle()
    },
  }
}
