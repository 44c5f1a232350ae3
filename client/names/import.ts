/**
 * Books of others, as text: JSON (`gyre names list --json`, an object of names and addresses, or a list of entries) or lines `name address`
 * with comments after `#`. A file with anything wrong in it is refused whole, before any name is taken from it.
 */
import { canonicalAddress, parseAddress } from '../../src/content/address.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { NameEntry } from '../library.ts'
import { isPetname, NAMES_MAX, skeleton } from './rules.ts'

/** Longest file that is read. */
export const IMPORT_BYTES_MAX = 1024 * 1024

export interface ImportedName {
  readonly name: string
  readonly address: string
}

/** The names in `text`, each once. Errors: `CONFIG_BAD` with the place. */
export function parseNames(text: string): readonly ImportedName[] {
  const found = /^\s*[[{]/.test(text) ? pairsOfJson(text) : pairsOfLines(text)
  if (found.length > NAMES_MAX) throw bad(`It holds more than ${NAMES_MAX} names.`)
  const names = new Map<string, string>()
  for (const { where, name, address } of found) {
    if (!isPetname(name)) throw bad(`${where}: not a name: lower case letters, digits and hyphens, 1 to 55.`)
    const parsed = parseAddress(address)
    if (parsed === null) throw bad(`${where}: the name ${name} stands there with something that is not a Gyre address.`)
    const canonical = canonicalAddress(parsed)
    if ((names.get(name) ?? canonical) !== canonical)
      throw bad(`${where}: the name ${name} stands there twice, for different addresses.`)
    names.set(name, canonical)
  }
  return [...names].map(([name, address]) => ({ name, address }))
}

interface Pair extends ImportedName {
  readonly where: string
}

function pairsOfLines(text: string): readonly Pair[] {
  return text.split(/\r?\n/).flatMap((line, at) => {
    const parts = line
      .replace(/(?:^|\s)#.*$/, '')
      .trim()
      .split(/[\s,=]+/)
    if (parts.length === 1 && parts[0] === '') return []
    const [name, address] = parts
    if (name === undefined || address === undefined || parts.length > 2) throw bad(`Line ${at + 1}: NAME ADDRESS is expected.`)
    return [{ where: `Line ${at + 1}`, name, address: bare(address) }]
  })
}

function pairsOfJson(text: string): readonly Pair[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw bad('It begins like JSON, and is none.')
  }
  const names =
    typeof value === 'object' && value !== null && 'names' in value && typeof value.names === 'object' && value.names !== null
      ? value.names
      : value
  if (Array.isArray(names)) {
    return names.map((entry: unknown, at) => {
      const { name, address } = (typeof entry === 'object' && entry !== null ? entry : {}) as Partial<
        Record<'name' | 'address', unknown>
      >
      if (typeof name !== 'string' || typeof address !== 'string')
        throw bad(`Entry ${at + 1}: "name" and "address" are expected.`)
      return { where: `Entry ${at + 1}`, name, address: bare(address) }
    })
  }
  return Object.entries(names as object).map(([name, address]: [string, unknown], at) => {
    if (typeof address !== 'string') throw bad(`Entry ${at + 1}: a name with an address is expected.`)
    return { where: `Entry ${at + 1}`, name, address: bare(address) }
  })
}

/** The address of a link `http://ADDRESS.gyre/`. */
function bare(text: string): string {
  return /^(?:http:\/\/)?([A-Za-z2-7]{56})(?:\.gyre\/?)?$/i.exec(text)?.[1] ?? text
}

function bad(message: string): OverlayError {
  return new OverlayError('config', 'CONFIG_BAD', `The names cannot be imported. ${message}`)
}

/** What an imported name is to a book. */
export interface Comparison extends ImportedName {
  /** `new`; `same`: the book has it; `collision`: the book has the name for `known`. */
  readonly state: 'new' | 'same' | 'collision'
  /** The book's own entry for this name. */
  readonly known: NameEntry | null
  /** Names of the book that a person could take this one for, and that stand for another address. */
  readonly alike: readonly string[]
  /** Other names that the book has for the same address. */
  readonly also: readonly string[]
}

/** How `names` stand to the entries of a book. */
export function compareNames(names: readonly ImportedName[], entries: readonly NameEntry[]): readonly Comparison[] {
  const byName = new Map(entries.map((entry) => [entry.name, entry]))
  const byLook = Map.groupBy(entries, ({ name }) => skeleton(name))
  const byAddress = Map.groupBy(entries, ({ address }) => address)
  return names.map(({ name, address }) => {
    const known = byName.get(name) ?? null
    const alike = (byLook.get(skeleton(name)) ?? []).filter((entry) => entry.name !== name && entry.address !== address)
    const also = (byAddress.get(address) ?? []).filter((entry) => entry.name !== name)
    const state = known === null ? 'new' : known.address === address ? 'same' : 'collision'
    return { name, address, state, known, alike: alike.map((entry) => entry.name), also: also.map((entry) => entry.name) }
  })
}
