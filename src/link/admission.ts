/**
 * Who may open a connection to this node, decided before any cryptography is done for him. A state machine without sockets or timers:
 * the listeners ask `enter` for each connection that arrives, and report `authenticate` and `leave`.
 *
 * Threat: floods of connections (from one address, or half-open from many) that eat handshakes, memory and file descriptors.
 * Policy at each limit: refuse the newcomer; but of too many that have not authenticated the oldest goes, if it has had time enough to. So who
 * opens connections and says nothing keeps others out for a second, not for the whole time-out. Loopback is exempt from the limits per address, so that a test network, or users behind a
 * local proxy, are not taken for one attacker. Spec: SPEC.md §3.3.
 */
import type { MonotonicMs } from '../bytes/index.ts'

export interface AdmissionLimits {
  /** Connections that one address (v6: one /64) may open within a second. */
  readonly perAddressPerSec: number
  /** Connections that one address may have open. */
  readonly perAddressAtOnce: number
  /** Connections that have not finished their handshake. */
  readonly unauthenticated: number
  /** Connections in all. */
  readonly total: number
  /** Whether loopback addresses count like others; tests set it. */
  readonly countLoopback: boolean
}

export const ADMISSION_DEFAULTS: AdmissionLimits = {
  perAddressPerSec: 8,
  perAddressAtOnce: 8,
  unauthenticated: 64,
  total: 256,
  countLoopback: false,
}

/** A handshake takes a few round trips: who has not authenticated after this long makes room for others. */
export const PENDING_GRACE_MS = 1_000
/** Addresses remembered for their rate; beyond it the oldest is forgotten. */
const ADDRESSES_MAX = 4096

/** One admitted connection. */
export interface Ticket {
  /** The handshake is done. */
  authenticate(): void
  /** The connection is gone. Idempotent. */
  leave(): void
}

/** A connection that has not authenticated. */
interface Pending {
  readonly sinceMs: number
  readonly evict: () => void
}

interface Seen {
  open: number
  /** Start of the second in which `count` connections came. */
  sinceMs: number
  count: number
}

/** The group of addresses that counts as one: an IPv4 address, or a /64 of IPv6. */
export function addressGroup(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped) return mapped[1]!
  if (!address.includes(':')) return address
  const [head = '', tail] = address.split('%')[0]!.toLowerCase().split('::')
  const front = head === '' ? [] : head.split(':')
  const back = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - front.length - back.length)
  const groups = [...front, ...new Array<string>(zeros).fill('0'), ...back]
  return groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')
}

/** Whether an address is of this machine itself. */
export function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./i.test(address)
}

export class Admission {
  readonly #limits: AdmissionLimits
  readonly #seen = new Map<string, Seen>()
  #total = 0
  /** The oldest first. */
  readonly #pending = new Set<Pending>()

  constructor(limits: AdmissionLimits) {
    this.#limits = limits
  }

  /** Connections that are open. */
  get total(): number {
    return this.#total
  }

  get unauthenticated(): number {
    return this.#pending.size
  }

  /** A ticket for a connection from `address`, or `null`: close it without a word. `close` ends it before its time: its place goes to another. */
  enter(address: string, now: MonotonicMs, close: () => void): Ticket | null {
    const limits = this.#limits
    const oldest = this.#oldestOver(now)
    const crowded = this.#pending.size >= limits.unauthenticated || this.#total >= limits.total
    if (crowded && oldest === null) return null
    const counted = limits.countLoopback || !isLoopback(address)
    const seen = counted ? this.#look(addressGroup(address), now) : null
    if (seen !== null) {
      if (seen.open >= limits.perAddressAtOnce || seen.count >= limits.perAddressPerSec) return null
      seen.open++
      seen.count++
    }
    if (crowded) oldest?.evict()
    this.#total++
    let inside = true
    const authenticate = () => void this.#pending.delete(pending)
    const leave = () => {
      if (!inside) return
      inside = false
      authenticate()
      this.#total--
      if (seen !== null) seen.open--
    }
    const evict = () => {
      leave()
      close()
    }
    const pending: Pending = { sinceMs: now, evict }
    this.#pending.add(pending)
    return { authenticate, leave }
  }

  /** Who has been without authentication for longest, if that is longer than a handshake takes. */
  #oldestOver(now: MonotonicMs): Pending | null {
    const [oldest] = this.#pending
    return oldest !== undefined && now - oldest.sinceMs >= PENDING_GRACE_MS ? oldest : null
  }

  #look(group: string, now: MonotonicMs): Seen {
    const known = this.#seen.get(group)
    if (known !== undefined) {
      if (now - known.sinceMs >= 1000) {
        known.sinceMs = now
        known.count = 0
      }
      return known
    }
    if (this.#seen.size >= ADDRESSES_MAX) this.#forget(now)
    const fresh: Seen = { open: 0, sinceMs: now, count: 0 }
    this.#seen.set(group, fresh)
    return fresh
  }

  /** Makes room: drops addresses with nothing open, those whose second is over first, else the oldest. */
  #forget(now: MonotonicMs): void {
    let oldest: string | null = null
    for (const [group, seen] of this.#seen) {
      if (seen.open > 0) continue
      if (now - seen.sinceMs >= 1000) this.#seen.delete(group)
      else oldest ??= group
    }
    if (this.#seen.size >= ADDRESSES_MAX && oldest !== null) this.#seen.delete(oldest)
  }
}
