/**
 * IPv4 addresses that stand for host names, for programs that must have an address before they connect (`torsocks`): RESOLVE gives one out,
 * CONNECT takes it back. They are of 198.18.0.0/15, which is for benchmarks (RFC 2544) and never of the internet; nothing is ever sent
 * there. One that was given out under one isolation means nothing under another.
 *
 * The range has eight times as many addresses as are remembered, and they are given out in turn: one that was forgotten is not soon given
 * out again, so that a program that kept it too long gets an error, never another host.
 */

/** Addresses of 198.18.0.0/15. */
const RANGE = 2 ** 17
const FIRST_OCTET = 198
const SECOND_OCTET = 18
/** Names remembered; the one longest not asked for is forgotten. */
export const VIRTUAL_ADDRESSES_MAX = 2 ** 14

interface Entry {
  readonly isolation: string
  readonly name: string
  readonly index: number
}

export class VirtualAddresses {
  /** By isolation and name, the longest unused first. */
  readonly #entries = new Map<string, Entry>()
  readonly #byIndex = new Map<number, Entry>()
  #next = 1

  get size(): number {
    return this.#entries.size
  }

  /** The address of `name` under `isolation`: 4 bytes. */
  assign(isolation: string, name: string): Uint8Array {
    const key = keyOf(isolation, name)
    const known = this.#entries.get(key)
    const entry = known ?? { isolation, name, index: this.#free() }
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    this.#byIndex.set(entry.index, entry)
    if (this.#entries.size > VIRTUAL_ADDRESSES_MAX) {
      const [oldest, { index }] = this.#entries.entries().next().value!
      this.#entries.delete(oldest)
      this.#byIndex.delete(index)
    }
    return Uint8Array.of(FIRST_OCTET, SECOND_OCTET + (entry.index >>> 16), (entry.index >>> 8) & 0xff, entry.index & 0xff)
  }

  /** The name that `address` (4 bytes) was given for under `isolation`; `null`: none, or not any more. */
  find(isolation: string, address: Uint8Array): string | null {
    if (!isVirtual(address)) return null
    const [, second = 0, third = 0, fourth = 0] = address
    const entry = this.#byIndex.get(((second - SECOND_OCTET) << 16) | (third << 8) | fourth)
    if (entry === undefined || entry.isolation !== isolation) return null
    const key = keyOf(isolation, entry.name)
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    return entry.name
  }

  /** The next index that nobody has; never the first or last of the range, which programs take for a network's own. */
  #free(): number {
    do {
      this.#next = this.#next >= RANGE - 2 ? 1 : this.#next + 1
    } while (this.#byIndex.has(this.#next))
    return this.#next
  }
}

/** Whether `address` is one of 198.18.0.0/15. */
export function isVirtual(address: Uint8Array): boolean {
  return address.length === 4 && address[0] === FIRST_OCTET && (address[1] === SECOND_OCTET || address[1] === SECOND_OCTET + 1)
}

/** The 4 bytes of a virtual address in its one spelling (`198.18.0.7`), or `null`. */
export function virtualBytes(text: string): Uint8Array | null {
  const parts = /^198\.(18|19)\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/.exec(text)?.slice(1).map(Number)
  if (parts === undefined || parts.some((part) => part > 255)) return null
  return Uint8Array.of(FIRST_OCTET, ...parts)
}

function keyOf(isolation: string, name: string): string {
  return `${isolation}/${name}`
}
