/** `gyre names`: the book of names of a node. Nothing is overwritten without --replace, and what looks like another name is said. */
import { open } from 'node:fs/promises'
import { basename } from 'node:path'
import { whyDisk } from '../../src/errors/disk.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { shown } from '../guard/listing.ts'
import type { NameEntry } from '../library.ts'
import { type Comparison, compareNames, IMPORT_BYTES_MAX, type ImportedName, parseNames } from '../names/import.ts'
import { isPetname, isSource, SOURCE_CHARS_MAX } from '../names/rules.ts'
import { findNode, getJson, type NodeAt, type NodeChoice, sendJson } from './api-client.ts'
import { formatDate, print, table, UsageError } from './output.ts'

export interface NamesFlags extends NodeChoice {
  readonly json?: boolean | undefined
  readonly replace?: boolean | undefined
  readonly source?: string | undefined
}

/** All names of the node. */
export async function namesOf(node: NodeAt, signal: AbortSignal): Promise<readonly NameEntry[]> {
  return (await getJson<{ names: readonly NameEntry[] }>(node, '/v1/names', signal)).names
}

export async function listNames(flags: NamesFlags, signal: AbortSignal): Promise<void> {
  const names = await namesOf(findNode(flags, process.env), signal)
  if (flags.json === true) return print(`${JSON.stringify({ names })}\n`)
  if (names.length === 0) return print('no names yet\n')
  const rows = names.map(({ name, address, source, addedMs }) => [name, address, shown(source), formatDate(addedMs)])
  await print(table([['name', 'address', 'from', 'since'], ...rows]))
}

/** Errors: `CONFIG_BAD` (the name stands for another address), `ADDRESS_BAD`, `NAME_LIMIT`. */
export async function addName(name: string, address: string, flags: NamesFlags, signal: AbortSignal): Promise<void> {
  const node = findNode(flags, process.env)
  const bare = /^(?:http:\/\/)?([A-Za-z2-7]{56})(?:\.gyre\/?)?$/i.exec(address.trim())?.[1]?.toLowerCase()
  if (bare === undefined) throw new OverlayError('protocol', 'ADDRESS_BAD', 'This is not a Gyre address.')
  if (!isPetname(name))
    throw new UsageError('A name is 1 to 55 lower case letters, digits and hyphens, with no hyphen at either end.')
  const [compared] = compareNames([{ name, address: bare }], await namesOf(node, signal))
  if (compared!.state === 'collision' && flags.replace !== true) throw taken([compared!])
  warnOf([compared!])
  await putName(node, compared!, undefined, signal)
  await print(flags.json === true ? `${JSON.stringify({ name, address: bare })}\n` : `http://${name}.gyre/\n`)
}

export async function removeName(name: string, flags: NamesFlags, signal: AbortSignal): Promise<void> {
  await sendJson(findNode(flags, process.env), { method: 'DELETE', path: `/v1/names/${encodeURIComponent(name)}`, signal })
  if (flags.json === true) await print(`${JSON.stringify({ removed: name })}\n`)
}

/** Imports a book: new names are added, names that stand for another address are kept and told of, or replaced with --replace. */
export async function importNames(file: string, flags: NamesFlags, signal: AbortSignal): Promise<void> {
  const source = flags.source ?? basename(file)
  if (!isSource(source)) throw new UsageError(`--source takes 1 to ${SOURCE_CHARS_MAX} characters without control characters.`)
  const found = parseNames(await readText(file))
  const node = findNode(flags, process.env)
  const compared = compareNames(found, await namesOf(node, signal))
  const wanted = compared.filter(({ state }) => state === 'new' || (state === 'collision' && flags.replace === true))
  for (const one of wanted) await putName(node, one, source, signal)
  if (flags.json === true) {
    const names = compared.map((one) => ({ ...one, outcome: outcomeOf(one, flags) }))
    return print(`${JSON.stringify({ source, names })}\n`)
  }
  const rows = compared.map((one) => [outcomeOf(one, flags), one.name, one.address, noteOf(one)])
  await print(rows.length === 0 ? 'no names in it\n' : table([['', 'name', 'address', ''], ...rows]))
  const kept = compared.filter((one) => outcomeOf(one, flags) === 'kept').length
  if (kept > 0)
    process.stderr.write(
      `gyre: ${kept} names stand for other addresses here and were left as they are (--replace changes them).\n`,
    )
}

function outcomeOf({ state }: Comparison, { replace }: NamesFlags): 'added' | 'unchanged' | 'replaced' | 'kept' {
  if (state === 'new') return 'added'
  if (state === 'same') return 'unchanged'
  return replace === true ? 'replaced' : 'kept'
}

function noteOf({ known, state, alike, also }: Comparison): string {
  const notes = [
    state === 'collision' && known !== null ? `here it stands for ${known.address} (from ${shown(known.source)})` : '',
    alike.length > 0 ? `looks like ${alike.join(', ')}` : '',
    also.length > 0 ? `also known as ${also.join(', ')}` : '',
  ]
  return notes.filter((note) => note !== '').join('; ')
}

function taken([{ name, known }]: readonly [Comparison]): UsageError {
  return new UsageError(
    `The name ${name} stands for ${known?.address} (from ${shown(known?.source ?? '')}).`,
    'Give --replace to change it, or choose another name.',
  )
}

function warnOf(compared: readonly Comparison[]): void {
  for (const one of compared)
    if (one.alike.length > 0)
      process.stderr.write(`gyre: ${one.name} looks like ${one.alike.join(', ')}, which stands for another address.\n`)
}

async function putName(
  node: NodeAt,
  { name, address }: ImportedName,
  source: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const body = source === undefined ? { address } : { address, source }
  await sendJson(node, { method: 'PUT', path: `/v1/names/${encodeURIComponent(name)}`, body, signal })
}

/** The file's text, up to `IMPORT_BYTES_MAX`. */
async function readText(path: string): Promise<string> {
  try {
    const file = path === '-' ? null : await open(path)
    try {
      const bytes: Buffer[] = []
      let length = 0
      for await (const chunk of (file?.createReadStream({ autoClose: false }) ?? process.stdin) as AsyncIterable<Buffer>) {
        length += chunk.length
        if (length > IMPORT_BYTES_MAX)
          throw new OverlayError('config', 'CONFIG_BAD', `${path} is longer than a book of names can be.`)
        bytes.push(chunk)
      }
      return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(bytes))
    } finally {
      await file?.close()
    }
  } catch (error) {
    if (error instanceof OverlayError) throw error
    throw new OverlayError('config', 'FILE_FAILED', `The file ${path} cannot be read: ${whyDisk(error)}.`, error)
  }
}
