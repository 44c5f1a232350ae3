/** Puts the parts of a node's records together: what was seen, the finder and the publisher, over the node's sessions of loops. */
import type { NodeId } from '../../src/bytes/index.ts'
import { formatKeyAddress } from '../../src/content/address.ts'
import type { Patience } from '../../src/content/holder-health.ts'
import type { RecordNetwork } from '../../src/content/record-network.ts'
import type { DirectoryView } from '../../src/directory/index.ts'
import type { Logger } from '../../src/log/index.ts'
import type { Clock, Rng } from '../../src/runtime/index.ts'
import type { KeyBook } from '../keys/book.ts'
import { workName } from '../open-files.ts'
import type { ShareSessions } from '../shares.ts'
import { HolderRecordFinder } from './finder.ts'
import { HolderRecordPublisher } from './publisher.ts'
import type { RecordFinder, RecordPublisher } from './records.ts'
import { SeenRecords } from './seen.ts'

export interface RecordsDeps {
  readonly dataDir: string
  readonly book: KeyBook
  /** Known to this node alone. */
  readonly secret: Uint8Array
  readonly networkId: Uint8Array
  readonly self: NodeId
  readonly view: DirectoryView
  readonly sessions: Pick<ShareSessions, 'named' | 'fresh'>
  /** How long answers may take, if the clock makes them slow. */
  readonly patience?: Patience | undefined
  readonly clock: Clock
  readonly rng: Rng
  readonly log: Pick<Logger, 'warn'>
}

export interface OpenedRecords {
  readonly finder: RecordFinder
  readonly publisher: RecordPublisher
  /** Ends what is under way and writes what was seen. Idempotent. */
  close(): Promise<void>
}

export async function openRecords(deps: RecordsDeps): Promise<OpenedRecords> {
  const { dataDir, secret, networkId, book, sessions, clock, rng, log } = deps
  const seen = await SeenRecords.open({ dataDir, secret, clock, log })
  const finder = new HolderRecordFinder({
    network: (key, isolation) => lookedAtFrom(deps, key, isolation),
    networkId,
    seen,
    patience: deps.patience,
    clock,
    rng,
  })
  const publisher = await HolderRecordPublisher.open({ book, session: () => sessions.fresh(), networkId, clock, rng, log })
  return {
    finder,
    publisher,
    close: async () => {
      finder.close()
      await publisher.close()
      await seen.close()
    },
  }
}

/** The looks for one key under one isolation have a session of their own, made anew when it closed itself. */
function lookedAtFrom({ sessions, self, view }: RecordsDeps, key: Uint8Array, isolation: string): RecordNetwork {
  const name = workName(`record ${formatKeyAddress(key)}`, isolation)
  const session = () => sessions.named(name, isolation)
  return {
    self,
    holders: () => view.all().map(({ id }) => id),
    ready: (node, bytes, waiting) => session().ready(node, bytes, waiting),
    near: (node) => session().near(node),
    putRecord: (node, record, work) => session().putRecord(node, record, work),
    getRecord: (node, publicKey, work) => session().getRecord(node, publicKey, work),
  }
}
