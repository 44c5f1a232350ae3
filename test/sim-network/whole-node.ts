/**
 * A whole node without faces, as `client/node.ts` puts it together (swift clock): directory, gossip, neighbours, links, switch, set-ups, apex, loops,
 * store on a disk in memory, healer, hand-over, keeper. Links are memory links; sites are left out, records and services unless `live-node.ts` adds them.
 */
import { join } from 'node:path'
import type { HandOver } from '../../client/handover/index.ts'
import type { Healer } from '../../client/heal/index.ts'
import type { Identity } from '../../client/identity.ts'
import type { Keeper } from '../../client/keeps/index.ts'
import { LoopBuilder } from '../../client/loops/builder.ts'
import type { OriginLoop } from '../../client/loops/origin-loop.ts'
import type { OwnApex } from '../../client/loops/own-hop.ts'
import { LoopPool } from '../../client/loops/pool.ts'
import { Neighbours } from '../../client/neighbours/index.ts'
import { drawLoop, loopPlan } from '../../client/paths.ts'
import { type LocalStore, ShareSessions } from '../../client/shares.ts'
import type { ApexService } from '../../relay/apex.ts'
import { Admission, Apex, Switch } from '../../relay/index.ts'
import { Rendezvous } from '../../relay/rendezvous/index.ts'
import { openStore, type ShareStore, storeService } from '../../relay/store/index.ts'
import { OnionKeyRing } from '../../src/circuit/onion-keys.ts'
import type { CellCipher } from '../../src/crypto/index.ts'
import { Directory } from '../../src/directory/index.ts'
import type { Link, LinkCloseReason, LinkHost } from '../../src/link/index.ts'
import { silentLog } from '../../src/log/index.ts'
import type { Clock, Rng, Timer } from '../../src/runtime/index.ts'
import { TEST_RULES } from '../support/directory.ts'
import { startCare } from './care.ts'
import { countingHost, noCells } from './counting-link.ts'

const KEY_TICK_MS = 60_000
const STORE_QUOTA_BYTES = 1024 * 1024 * 1024

export interface WholeNodeParts {
  readonly identity: Identity
  /** Below a disk in memory. */
  readonly dataDir: string
  readonly host: LinkHost
  readonly bootstrap: readonly string[]
  readonly cipher: CellCipher
  readonly clock: Clock
  readonly rng: Rng
  /** What its apex serves besides the store. */
  readonly serves?: { readonly record: LocalStore; readonly introduction: ApexService }
}

export interface WholeNode {
  readonly identity: Identity
  readonly builder: LoopBuilder
  readonly rendezvous: Rendezvous
  readonly ownApex: OwnApex
  readonly members: () => number
  readonly directory: Directory
  readonly neighbours: Neighbours
  readonly relay: Switch
  readonly pool: LoopPool
  readonly sessions: ShareSessions
  readonly store: ShareStore
  readonly healer: Healer
  readonly handOver: HandOver
  readonly keeper: Keeper
  readonly cells: ReturnType<typeof noCells>
  /** CIRCUIT cells of this node's own loops: sent, and come home. */
  own(): { readonly sent: number; readonly home: number; readonly loops: number }
  close(): Promise<void>
}

export async function startWhole({
  identity,
  dataDir,
  host: plain,
  bootstrap,
  cipher,
  clock,
  rng,
  serves,
}: WholeNodeParts): Promise<WholeNode> {
  const self = identity.id
  const { network } = TEST_RULES
  const directory = new Directory({ rules: TEST_RULES, clock, self })
  const store = await openStore({ dir: join(dataDir, 'store'), quotaBytes: STORE_QUOTA_BYTES, clock, log: silentLog })
  const service = storeService(store, { clock })
  const onionKeys = new OnionKeyRing({ clock, rng })
  const admission = new Admission({ network, self, onionKeys, clock })
  const memory = { hold: (bytes: number) => apex.hold(bytes), release: (bytes: number) => apex.release(bytes) }
  const rendezvous = new Rendezvous({ clock, memory })
  const apex = new Apex({ services: { store: service, ...serves }, rendezvous, clock })
  const control = {
    onControlCell: (link: Link, body: Uint8Array) => neighbours.onControlCell(link, body),
    onLinkClosed: (link: Link, reason: LinkCloseReason) => neighbours.onLinkClosed(link, reason),
  }
  const relay = new Switch({ cipher, clock, rng, apex, admission, control })
  const cells = noCells()
  const host = countingHost(plain, cells)
  const neighbours = new Neighbours({
    host,
    directory,
    plane: relay,
    identity,
    claims: { onion: () => onionKeys.published, storeQuotaBytes: STORE_QUOTA_BYTES, capacityClass: 0 },
    bootstrap,
    dataDir,
    limits: { choose: 4, accept: 8 },
    clock,
    rng,
    log: silentLog,
  })
  const builder = new LoopBuilder({
    network,
    self,
    onionKeys,
    view: directory,
    draw(wanted, avoid, preference) {
      const plan = loopPlan(directory.size)
      if (plan === null) return null
      const links = { neighbours: neighbours.all(), chosen: neighbours.chosen() }
      const target = { ...(wanted === undefined ? {} : { apex: wanted }), ...(preference === undefined ? {} : { preference }) }
      return drawLoop({ view: directory, self, ...links, members: plan.members, avoid, rng, ...target })
    },
    port: relay,
    cipher,
    clock,
    rng,
  })
  const open = new Set<OriginLoop>()
  const over = { sent: 0, home: 0, loops: 0 }
  const building: Pick<LoopBuilder, 'build'> = {
    async build(wanted, onEnd, how) {
      const loop = await builder.build(wanted, onEnd, how)
      open.add(loop)
      over.loops++
      return loop
    },
  }
  const members = () => loopPlan(directory.size)?.members ?? 0
  const ownApex: OwnApex = (stream, port) => apex.accept(stream, port)
  const pool = new LoopPool({
    builder: building,
    isSuspect: (id) => builder.isSuspect(id),
    view: directory,
    self,
    ownApex,
    members,
    clock,
    rng,
  })
  const localRecords = serves?.record ?? (async () => ({ status: 'refused' as const, body: new Uint8Array(0) }))
  const sessions = new ShareSessions({ self, view: directory, pool, local: service, localRecords, clock })
  const fresh = () => sessions.fresh()
  relay.start()
  await neighbours.start()
  pool.start()
  const { healer, handOver, keeper } = await startCare({ self, dataDir, store, view: directory, fresh, clock, rng })
  let keyTimer: Timer
  const tickKeys = () => {
    if (onionKeys.tick()) neighbours.republish()
    keyTimer = clock.setTimer(KEY_TICK_MS, tickKeys)
  }
  keyTimer = clock.setTimer(KEY_TICK_MS, tickKeys)
  return {
    ...{ identity, directory, neighbours, relay, pool, sessions, store, healer, handOver, keeper, cells },
    ...{ builder, rendezvous, ownApex, members },
    own() {
      let { sent, home } = over
      for (const loop of open) {
        const { cells: count, inFlight } = loop.figures
        sent += count
        home += count - inFlight
        if (loop.open) continue
        open.delete(loop)
        over.sent += count
        over.home += count - inFlight
      }
      return { sent, home, loops: over.loops }
    },
    async close() {
      keyTimer.cancel()
      await keeper.close()
      await handOver.close()
      await healer.close()
      sessions.close()
      pool.close()
      await neighbours.close()
      relay.close()
      rendezvous.close()
      onionKeys.close()
      await store.close()
    },
  }
}
