/** A whole node (`whole-node.ts`) with records and live services, as `client/node.ts` puts them together under the swift clock. */
import { join } from 'node:path'
import { openKeyBook } from '../../client/keys/index.ts'
import { LoopPool } from '../../client/loops/pool.ts'
import { openRecords } from '../../client/records/index.ts'
import type { Forwarder } from '../../client/service/forward.ts'
import { Connector, LiveServices, type MakeSession } from '../../client/service/index.ts'
import { Introductions } from '../../relay/introduction/index.ts'
import { openRecordHolder, recordService } from '../../relay/record/index.ts'
import type { Rendezvous } from '../../relay/rendezvous/index.ts'
import type { LinkHost } from '../../src/link/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { Session } from '../../src/service/index.ts'
import { TEST_RULES } from '../support/directory.ts'
import { startWhole, type WholeNode, type WholeNodeParts } from './whole-node.ts'

export interface LiveNode extends WholeNode {
  readonly services: LiveServices
  readonly connector: Connector
  readonly host: LinkHost
  /** Key of a service of its own. */
  serviceKey(name: string): Uint8Array
}

export interface LiveNodeParts extends WholeNodeParts {
  /** Where the streams of its services lead. */
  readonly forwarder: Pick<Forwarder, 'forward' | 'close'>
}

export async function startLive({ forwarder, ...parts }: LiveNodeParts): Promise<LiveNode> {
  const { dataDir, identity, clock, rng } = parts
  const { network } = TEST_RULES
  const holder = await openRecordHolder({ dir: join(dataDir, 'records'), clock, log: silentLog })
  const record = recordService(holder)
  const introductions = new Introductions({ clock, rng })
  const node = await startWhole({ ...parts, serves: { record, introduction: introductions.service } })
  const { directory: view, builder, pool, rendezvous, sessions, ownApex, members } = node
  const self = identity.id
  const book = await openKeyBook(dataDir, rng)
  const secret = identity.seed
  const records = await openRecords({
    dataDir,
    book,
    secret,
    networkId: network,
    self,
    view,
    sessions,
    clock,
    rng,
    log: silentLog,
  })
  const sessionOf =
    (role: 'client' | 'service'): MakeSession =>
    (ticket, events) =>
      new Session({ role, ticket, clock, events })
  const joinLocally: Rendezvous['joinLocally'] = (cookie, end) => rendezvous.joinLocally(cookie, end)
  const services = new LiveServices({
    ...{ book, records: records.publisher, network, self, view, joinLocally, forwarder, clock, rng, log: silentLog },
    loopsFor(preference) {
      const preferring: Pick<typeof builder, 'build'> = {
        build: (apex, onEnd, building) => builder.build(apex, onEnd, { ...building, preference }),
      }
      const loops = new LoopPool({
        builder: preferring,
        isSuspect: (id) => builder.isSuspect(id),
        view,
        self,
        ownApex,
        members,
        clock,
        rng,
      })
      loops.start()
      return { loops, close: () => loops.close() }
    },
    healthy: () => pool.ready > 0,
    makeSession: sessionOf('service'),
    emit: () => {},
  })
  const connector = new Connector({
    ...{ network, self, view, loops: pool, joinLocally, records: records.finder, clock, rng },
    introduceLocally: (request, waiting) => introductions.askLocally(request, waiting),
    makeSession: sessionOf('client'),
  })
  await services.start()
  return {
    ...node,
    services,
    connector,
    host: parts.host,
    serviceKey: (name) => book.get(name)!.publicKey,
    async close() {
      await services.close()
      connector.close()
      await records.close()
      await node.close()
      introductions.close()
      await holder.close()
    },
  }
}
