/**
 * What an observer of all links of one node makes of a window: about 200 numbers from times, sizes and directions alone. They do not depend on which
 * link is which (links are sorted by volume) nor on absolute time. Names are kept beside values, for the table of what gives roles away.
 * Groups: totals and balance, links, bursts and gaps, 100 ms bins, cumulative sums, spectrum, segment sizes, tick grid, in against out, onsets.
 */
import { powerSpectrum } from './spectrum.ts'
import { mean, quantile } from './statistics.ts'
import { CELL_RECORD_BYTES, rowAt, type WireTrace } from './wire-trace.ts'

/** One link of a node within a window. Times are milliseconds from the window's start. */
export interface LinkWindow {
  readonly peer: number
  readonly in: EventColumns
  readonly out: EventColumns
}

export interface EventColumns {
  readonly at: Float64Array
  readonly bytes: Float64Array
}

export interface Features {
  readonly names: readonly string[]
  readonly values: Float64Array
}

const BIN_MS = 100
const FINE_MS = 10
/** Between ticks of nodes that keep cells for 150 ms, as the lab’s do under a paced clock. */
const GRID_MS = 20
const GAPS_MS = [0.3, 1, 3, 10, 30, 100, 300]
const SEGMENT_RECORDS = [1.5, 2.5, 4.5, 8.5, 16.5, 33]
const LINKS_SHOWN = 4
const CUMULATIVE_POINTS = 10
const LAGS = [-10, -5, -3, -2, -1, 0, 1, 2, 3, 5, 10]
const SPECTRUM_BINS = 1024
const SPECTRUM_BANDS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 513]
/** Activity after so many quiet bins is an onset; what follows within so many belongs to it. */
const QUIET_BINS = 20
const ONSET_BINS = 3

/** The links of `node` from `from` to `to` (CLOCK_MONOTONIC), in no order. Links on which nothing passed are left out. */
export function linksOf(trace: WireTrace, node: number, from: number, to: number): LinkWindow[] {
  const links = new Map<string, { peer: number; in: EventColumns; out: EventColumns }>()
  const none: EventColumns = { at: new Float64Array(0), bytes: new Float64Array(0) }
  for (const flow of trace.flows) {
    if (flow.from !== node && flow.to !== node) continue
    const first = rowAt(flow.at, from)
    const end = rowAt(flow.at, to)
    if (first === end) continue
    const outgoing = flow.from === node
    const [sender, receiver] = flow.ports.split('-')
    const key = outgoing ? `${sender}-${receiver}` : `${receiver}-${sender}`
    let link = links.get(key)
    if (link === undefined) {
      link = { peer: outgoing ? flow.to : flow.from, in: none, out: none }
      links.set(key, link)
    }
    const columns = { at: flow.at.slice(first, end).map((at) => at - from), bytes: flow.bytes.slice(first, end) }
    if (outgoing) link.out = columns
    else link.in = columns
  }
  return [...links.values()]
}

/** All events of one direction over all links, in the order of time. */
function merged(columns: readonly EventColumns[]): EventColumns {
  const total = columns.reduce((sum, { at }) => sum + at.length, 0)
  const pairs = new Array<readonly [number, number]>(total)
  let place = 0
  for (const { at, bytes } of columns) for (let row = 0; row < at.length; row++) pairs[place++] = [at[row]!, bytes[row]!]
  pairs.sort((a, b) => a[0] - b[0])
  return { at: Float64Array.from(pairs, ([at]) => at), bytes: Float64Array.from(pairs, ([, bytes]) => bytes) }
}

/** Records per bin. */
export function binned({ at, bytes }: EventColumns, binMs: number, bins: number): Float64Array {
  const sums = new Float64Array(bins)
  for (let row = 0; row < at.length; row++) {
    const bin = Math.floor(at[row]! / binMs)
    if (bin >= 0 && bin < bins) sums[bin]! += bytes[row]! / CELL_RECORD_BYTES
  }
  return sums
}

/** The features of a window of `windowMs`. */
export function featuresOf(links: readonly LinkWindow[], windowMs: number): Features {
  const names: string[] = []
  const values: number[] = []
  const add = (name: string, value: number) => {
    names.push(name)
    values.push(Number.isFinite(value) ? value : 0)
  }
  const incoming = merged(links.map((link) => link.in))
  const outgoing = merged(links.map((link) => link.out))
  const bins = Math.floor(windowMs / BIN_MS)
  const inBins = binned(incoming, BIN_MS, bins)
  const outBins = binned(outgoing, BIN_MS, bins)
  totals(add, incoming, outgoing)
  linkFeatures(add, links, windowMs)
  for (const [way, events, counts] of [['in', incoming, inBins] as const, ['out', outgoing, outBins] as const]) {
    gaps(add, way, events)
    binFeatures(add, way, counts)
    spectrum(add, way, events)
    segments(add, way, events)
    grid(add, way, events)
  }
  cumulative(add, inBins, outBins)
  conservation(add, incoming, outgoing, windowMs)
  onsets(add, incoming, outgoing, windowMs)
  return { names, values: Float64Array.from(values) }
}

type Add = (name: string, value: number) => void

function sum(values: ArrayLike<number>): number {
  return mean(values) * values.length
}

/** −1: all out, 1: all in. */
function balance(inward: number, outward: number): number {
  return inward + outward === 0 ? 0 : (inward - outward) / (inward + outward)
}

function totals(add: Add, incoming: EventColumns, outgoing: EventColumns): void {
  const inward = sum(incoming.bytes)
  const outward = sum(outgoing.bytes)
  add('total: log in', Math.log1p(inward))
  add('total: log out', Math.log1p(outward))
  add('total: balance', balance(inward, outward))
  add('total: log segments in', Math.log1p(incoming.at.length))
  add('total: log segments out', Math.log1p(outgoing.at.length))
}

function linkFeatures(add: Add, links: readonly LinkWindow[], windowMs: number): void {
  const volumes = links
    .map((link) => ({ link, inward: sum(link.in.bytes), outward: sum(link.out.bytes) }))
    .sort((a, b) => b.inward + b.outward - a.inward - a.outward || b.inward - a.inward)
  const all = volumes.reduce((total, { inward, outward }) => total + inward + outward, 0)
  add('links: number', links.length)
  for (let at = 0; at < LINKS_SHOWN; at++) {
    const volume = volumes[at]
    add(`link ${at}: share`, volume === undefined ? 0 : (volume.inward + volume.outward) / Math.max(1, all))
    add(`link ${at}: balance`, volume === undefined ? 0 : balance(volume.inward, volume.outward))
  }
  const ins = volumes.map(({ inward }) => inward).sort((a, b) => b - a)
  const outs = volumes.map(({ outward }) => outward).sort((a, b) => b - a)
  for (const [way, values] of [['in', ins] as const, ['out', outs] as const]) {
    const typical = quantile(values, 0.5)
    add(`links: raised ${way}`, values.filter((value) => value > 3 * typical && value > 20 * CELL_RECORD_BYTES).length)
    add(`links: largest ${way}`, (values[0] ?? 0) / Math.max(1, sum(values)))
    add(`links: second ${way}`, (values[1] ?? 0) / Math.max(1, sum(values)))
  }
  const balances = volumes.map(({ inward, outward }) => balance(inward, outward))
  add('links: most in', Math.max(0, ...balances))
  add('links: most out', Math.min(0, ...balances))
  add('links: balance spread', quantile(balances, 0.9) - quantile(balances, 0.1))
  // Bins in which a link is raised above its own middle, and how many links are at once.
  const bins = Math.floor(windowMs / BIN_MS)
  const raised = new Float64Array(bins)
  for (const { link } of volumes) {
    const counts = binned(link.out, BIN_MS, bins)
    const typical = quantile(counts, 0.5)
    for (let bin = 0; bin < bins; bin++) if (counts[bin]! > 3 * typical + 3) raised[bin]!++
  }
  add('links: raised at once, most', Math.max(0, ...raised))
  add('links: raised at once, mean', mean(raised))
}

function gaps(add: Add, way: string, { at, bytes }: EventColumns): void {
  const between = new Float64Array(Math.max(0, at.length - 1)).map((_, row) => at[row + 1]! - at[row]!)
  let before = 0
  for (const limit of [...GAPS_MS, Number.POSITIVE_INFINITY]) {
    const share = between.filter((gap) => gap <= limit).length / Math.max(1, between.length)
    add(`gaps ${way}: up to ${limit} ms`, share - before)
    before = share
  }
  add(`gaps ${way}: longest`, Math.log1p(Math.max(0, ...between)))
  // Bursts: what follows within 5 ms.
  const bursts: number[] = []
  let burst = 0
  for (let row = 0; row < at.length; row++) {
    if (row > 0 && at[row]! - at[row - 1]! > 5) {
      bursts.push(burst)
      burst = 0
    }
    burst += bytes[row]! / CELL_RECORD_BYTES
  }
  if (burst > 0) bursts.push(burst)
  for (const share of [0.5, 0.9, 0.99]) add(`bursts ${way}: quantile ${share}`, Math.log1p(quantile(bursts, share)))
  add(`bursts ${way}: log number`, Math.log1p(bursts.length))
}

function binFeatures(add: Add, way: string, counts: Float64Array): void {
  const average = mean(counts)
  const centred = counts.map((count) => count - average)
  const variance = mean(centred.map((value) => value ** 2))
  const deviation = Math.sqrt(variance)
  add(`bins ${way}: deviation`, Math.log1p(deviation))
  add(`bins ${way}: variation`, average === 0 ? 0 : deviation / average)
  add(`bins ${way}: skew`, deviation === 0 ? 0 : mean(centred.map((value) => (value / deviation) ** 3)))
  for (const share of [0.05, 0.25, 0.5, 0.75, 0.95, 1]) add(`bins ${way}: quantile ${share}`, Math.log1p(quantile(counts, share)))
  for (const lag of [1, 2, 3, 5, 10, 20]) {
    let product = 0
    for (let at = lag; at < centred.length; at++) product += centred[at]! * centred[at - lag]!
    add(`bins ${way}: likeness after ${lag}`, variance === 0 ? 0 : product / (variance * centred.length))
  }
}

function spectrum(add: Add, way: string, events: EventColumns): void {
  const counts = binned(events, 20, SPECTRUM_BINS)
  const average = mean(counts)
  const power = powerSpectrum(counts.map((count) => count - average))
  const all = Math.max(1e-9, sum(power))
  for (let band = 0; band + 1 < SPECTRUM_BANDS.length; band++) {
    const low = SPECTRUM_BANDS[band]!
    add(`spectrum ${way}: from ${low}`, sum(power.subarray(low, SPECTRUM_BANDS[band + 1]!)) / all)
  }
}

function segments(add: Add, way: string, { bytes }: EventColumns): void {
  let before = 0
  for (const limit of SEGMENT_RECORDS) {
    const share = bytes.filter((size) => size / CELL_RECORD_BYTES <= limit).length / Math.max(1, bytes.length)
    add(`segments ${way}: up to ${Math.floor(limit)} records`, share - before)
    before = share
  }
  add(`segments ${way}: mean`, mean(bytes) / CELL_RECORD_BYTES)
}

/** How far events keep to the grid of the lab's paced nodes, and how late they are in it: a grid's phase is unknown, so lags are taken against their middle direction. */
function grid(add: Add, way: string, { at }: EventColumns): void {
  let cosine = 0
  let sine = 0
  for (const time of at) {
    cosine += Math.cos((2 * Math.PI * time) / GRID_MS)
    sine += Math.sin((2 * Math.PI * time) / GRID_MS)
  }
  const count = Math.max(1, at.length)
  add(`grid ${way}: concentration`, Math.hypot(cosine, sine) / count)
  const phase = (Math.atan2(sine, cosine) / (2 * Math.PI)) * GRID_MS
  const lags = at.map((time) => ((((time - phase) % GRID_MS) + 1.5 * GRID_MS) % GRID_MS) - GRID_MS / 2)
  for (const share of [0.1, 0.5, 0.9, 0.99]) add(`grid ${way}: lag quantile ${share}`, quantile(lags, share))
  add(`grid ${way}: lag deviation`, Math.sqrt(mean(lags.map((lag) => lag ** 2))))
}

function cumulative(add: Add, inBins: Float64Array, outBins: Float64Array): void {
  const total = Math.max(1, sum(inBins) + sum(outBins))
  let inward = 0
  let outward = 0
  let most = 0
  let least = 0
  const step = inBins.length / CUMULATIVE_POINTS
  for (let bin = 0; bin < inBins.length; bin++) {
    inward += inBins[bin]!
    outward += outBins[bin]!
    most = Math.max(most, inward - outward)
    least = Math.min(least, inward - outward)
    if (Math.floor((bin + 1) / step) === Math.floor(bin / step)) continue
    const point = Math.floor((bin + 1) / step)
    add(`cumulative: volume by ${point}`, (inward + outward) / total)
    add(`cumulative: in less out by ${point}`, (inward - outward) / Math.sqrt(total))
  }
  add('cumulative: most in less out', most / Math.sqrt(total))
  add('cumulative: least in less out', least / Math.sqrt(total))
}

/** A relay puts out what came in, a moment later; an origin puts out first. */
function conservation(add: Add, incoming: EventColumns, outgoing: EventColumns, windowMs: number): void {
  const bins = Math.floor(windowMs / FINE_MS)
  const inward = binned(incoming, FINE_MS, bins)
  const outward = binned(outgoing, FINE_MS, bins)
  const meanIn = mean(inward)
  const meanOut = mean(outward)
  const norm = Math.sqrt(mean(inward.map((v) => (v - meanIn) ** 2)) * mean(outward.map((v) => (v - meanOut) ** 2)))
  let best = -1
  let bestLag = 0
  for (const lag of LAGS) {
    let product = 0
    for (let bin = Math.max(0, -lag); bin < bins - Math.max(0, lag); bin++)
      product += (inward[bin]! - meanIn) * (outward[bin + lag]! - meanOut)
    const likeness = norm === 0 ? 0 : product / (norm * bins)
    add(`in and out: likeness, out ${lag * FINE_MS} ms later`, likeness)
    if (likeness > best) {
      best = likeness
      bestLag = lag
    }
  }
  add('in and out: best lag', bestLag)
  const toOut = delays(incoming.at, outgoing.at)
  const toIn = delays(outgoing.at, incoming.at)
  for (const share of [0.1, 0.5, 0.9]) {
    add(`in and out: from in to out, quantile ${share}`, Math.log1p(quantile(toOut, share)))
    add(`in and out: from out to in, quantile ${share}`, Math.log1p(quantile(toIn, share)))
  }
}

/** From each event of the first to the next of the second. */
function delays(first: Float64Array, second: Float64Array): Float64Array {
  const found: number[] = []
  let row = 0
  for (const time of first) {
    while (row < second.length && second[row]! < time) row++
    if (row === second.length) break
    found.push(second[row]! - time)
  }
  return Float64Array.from(found)
}

/**
 * Where activity rises above what is usual after 200 ms without: which way it rises first, and by how much. An origin's work begins outwards and
 * comes home a round trip later; what a relay or an apex sends out has come in before.
 */
function onsets(add: Add, incoming: EventColumns, outgoing: EventColumns, windowMs: number): void {
  const bins = Math.floor(windowMs / FINE_MS)
  const inward = binned(incoming, FINE_MS, bins)
  const outward = binned(outgoing, FINE_MS, bins)
  const usual = quantile(
    inward.map((count, bin) => count + outward[bin]!),
    0.75,
  )
  const leads: number[] = []
  let quiet = 0
  for (let bin = 0; bin < bins; bin++) {
    if (inward[bin]! + outward[bin]! <= 1.5 * usual + 2) {
      quiet++
      continue
    }
    if (quiet >= QUIET_BINS) {
      let lead = 0
      let volume = 0
      // The bin before it too: a burst may begin at the end of one.
      for (let next = bin - 1; next < Math.min(bins, bin + ONSET_BINS); next++) {
        lead += outward[next]! - inward[next]!
        volume += outward[next]! + inward[next]!
      }
      leads.push(lead / volume)
    }
    quiet = 0
  }
  add('onsets: log number', Math.log1p(leads.length))
  add('onsets: out leads, mean', mean(leads))
  for (const share of [0.1, 0.5, 0.9]) add(`onsets: out leads, quantile ${share}`, quantile(leads, share))
  add('onsets: share led by out', leads.filter((lead) => lead > 0.1).length / Math.max(1, leads.length))
  const firstIn = incoming.at[0] ?? 0
  const firstOut = outgoing.at[0] ?? 0
  add('onsets: first out after first in', Math.sign(firstOut - firstIn) * Math.log1p(Math.abs(firstOut - firstIn)))
}
