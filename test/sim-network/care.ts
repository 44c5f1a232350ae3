/** What keeps content alive at a simulated node, as `client/node.ts` puts it together: healer, hand-over, book of keeps and keeper. There are files only: no key has a record. */
import { HandOver } from '../../client/handover/index.ts'
import { Healer } from '../../client/heal/index.ts'
import { Keeper, openKeepBook } from '../../client/keeps/index.ts'
import type { RecordFinder } from '../../client/records/index.ts'
import type { ShareSession } from '../../client/shares.ts'
import type { ShareStore } from '../../relay/store/index.ts'
import type { NodeId } from '../../src/bytes/index.ts'
import type { DirectoryView } from '../../src/directory/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { silentLog } from '../../src/log/index.ts'
import type { Clock, Rng } from '../../src/runtime/index.ts'

export interface CareParts {
  readonly self: NodeId
  /** Below a disk in memory. */
  readonly dataDir: string
  readonly store: ShareStore
  readonly view: DirectoryView
  readonly fresh: () => ShareSession
  /** See `HandOverParts`. Default: its own. */
  readonly ranks?: number
  readonly clock: Clock
  readonly rng: Rng
}

export interface Care {
  readonly healer: Healer
  readonly handOver: HandOver
  readonly keeper: Keeper
}

const NO_RECORDS = {
  find: async () => {
    throw new OverlayError('not-found', 'CONTENT_NOT_FOUND', 'There are no records here.')
  },
} as unknown as RecordFinder

/** Starts all of it. Who closes it begins with the keeper. */
export async function startCare({ self, dataDir, store, view, fresh, ranks, clock, rng }: CareParts): Promise<Care> {
  const healer = new Healer({ fresh, clock, rng })
  const handOver = new HandOver({ self, store, view, fresh, clock, rng, ...(ranks === undefined ? {} : { ranks }) })
  handOver.start()
  const keeper = new Keeper({
    book: await openKeepBook({ dataDir, log: silentLog }),
    care: { fresh, clock, rng },
    finder: NO_RECORDS,
    ownSites: () => [],
    careForRecords: async () => 0,
    clock,
    rng,
    log: silentLog,
  })
  await keeper.start()
  return { healer, handOver, keeper }
}
