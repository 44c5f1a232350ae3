/** Holders that lie: a node's store that serves what is wrong, old or nothing, or says that it keeps what it throws away. Honest otherwise. */
import type { ShareStore } from '../../../relay/store/index.ts'
import type { Rng } from '../../../src/runtime/index.ts'

/** Makes `store` lie from now on. */
export type HolderLie = (store: ShareStore, rng: Rng) => void

/** Each lie of a holder, by name. */
export const HOLDER_LIES: Readonly<Record<string, HolderLie>> = {
  'serves wrong bytes'(store, rng) {
    store.getShare = async () => rng.bytes(65_536)
    store.getSlots = async () => []
  },
  'serves what it was given first, whatever is asked'(store) {
    const { getShare, getSlots } = bound(store)
    let share: Uint8Array | null = null
    let slots: Awaited<ReturnType<ShareStore['getSlots']>> = []
    store.getShare = async (address) => {
      share ??= await getShare(address)
      return share
    }
    store.getSlots = async (location) => {
      if (slots.length === 0) slots = await getSlots(location)
      return slots
    }
  },
  'serves nothing'(store) {
    store.getShare = async () => null
    store.getSlots = async () => []
  },
  'confirms and keeps nothing'(store) {
    store.putShare = async () => 'stored'
    store.putSlot = async () => 'stored'
  },
  'keeps slots, and confirms shares without keeping them'(store) {
    store.putShare = async () => 'stored'
  },
}

function bound(store: ShareStore): Pick<ShareStore, 'getShare' | 'getSlots'> {
  return { getShare: store.getShare.bind(store), getSlots: store.getSlots.bind(store) }
}
