/**
 * What a soak's figures say: windows of time, the growth of what a process holds, the course of latencies. Pure; `test/unit/soak.test.ts` shows it growth,
 * leaks and slowness, and their absence.
 */

/** One look at one process. */
export interface Sample {
  readonly atMs: number
  readonly node: number
  readonly pid: number
  /** Heap and buffers after a full collection. */
  readonly liveBytes: number
  /** The heap alone. */
  readonly heapBytes: number
  readonly rssBytes: number
  readonly handles: number
  readonly sockets: number
  readonly timers: number
  readonly lagP99Ms: number
  readonly lagMaxMs: number
}

/** One request, from its start. */
export interface Outcome {
  readonly atMs: number
  readonly kind: string
  readonly ms: number
  /** Empty: it did what it should. */
  readonly failure: string
}

/** How one figure of one process went from the first windows after the warm-up to the last ones. */
export interface Course {
  readonly node: number
  readonly from: number
  readonly to: number
}

export interface Verdict {
  readonly what: string
  readonly holds: boolean
  readonly figures: string
}

export interface Spans {
  /** The warm-up's end, and the end of all. */
  readonly warmMs: number
  readonly endMs: number
  /** Windows from `warmMs` to `endMs`. */
  readonly windows: number
}

// What is promised.
/** Live memory and resident memory of the processes that live all the time. */
export const GROWTH_MAX = 0.05
/** More handles at the end than after the warm-up are a leak, but for connections that happen to be open. */
export const HANDLES_MAX = 4
/** A course of latencies rises if so few of all orders of its windows rise as much (Mann and Kendall, one-sided) … */
export const RISE_CHANCE = 0.02
/** … and if it rises by more than this over the whole; both in itself and against the floor, which says what others do to the machine. */
export const RISE_MAX = 0.1
/** Small fetches that may fail while nodes are killed: each is told. */
export const FAILED_MAX = 0.01

export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) return Number.NaN
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!
}

/** The values of each window, in order of time. */
export function windowed<T extends { readonly atMs: number }>(
  items: readonly T[],
  { warmMs, endMs, windows }: Spans,
): readonly T[][] {
  const all: T[][] = Array.from({ length: windows }, () => [])
  const width = (endMs - warmMs) / windows
  for (const item of items) {
    if (item.atMs < warmMs || item.atMs >= endMs) continue
    all[Math.min(windows - 1, Math.floor((item.atMs - warmMs) / width))]!.push(item)
  }
  return all
}

/** Processes that were there in every window: their first two windows against their last two, by `figure` of the samples in each. */
export function courses(samples: readonly Sample[], spans: Spans, figure: (samples: readonly Sample[]) => number): Course[] {
  const pids = new Map(samples.map(({ pid, node }) => [pid, node]))
  return [...pids].flatMap(([pid, node]) => {
    const windows = windowed(
      samples.filter((sample) => sample.pid === pid),
      spans,
    )
    if (windows.some((window) => window.length === 0)) return []
    return [{ node, from: figure(windows.slice(0, 2).flat()), to: figure(windows.slice(-2).flat()) }]
  })
}

/**
 * How likely a series of no trend would rise as much (Mann and Kendall's test, normal approximation with continuity correction, one-sided), and by
 * how much it rose over its whole length, of its own median (Theil and Sen's slope).
 */
export function trend(series: readonly number[]): Trend {
  const n = series.length
  let s = 0
  const slopes: number[] = []
  for (let a = 0; a < n; a++) {
    for (let b = a + 1; b < n; b++) {
      s += Math.sign(series[b]! - series[a]!)
      slopes.push((series[b]! - series[a]!) / (b - a))
    }
  }
  const deviation = Math.sqrt((n * (n - 1) * (2 * n + 5)) / 18)
  const z = s === 0 ? 0 : (s - Math.sign(s)) / deviation
  return { chance: 1 - normal(z), rise: (middle(slopes) * (n - 1)) / middle(series) }
}

function middle(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2
}

/** The standard normal distribution (Abramowitz and Stegun 26.2.17, error under 1e-7). */
function normal(z: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(z))
  const tail =
    Math.exp((-z * z) / 2) *
    0.3989422804 *
    (t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429)))))
  return z >= 0 ? 1 - tail : tail
}

/** The whole judgement. `deaths`: processes that ended by themselves; `faults`: lines that tell of a fault of the program. */
export function judge(
  samples: readonly Sample[],
  outcomes: readonly Outcome[],
  spans: Spans,
  { deaths, faults, wrong }: { readonly deaths: readonly string[]; readonly faults: readonly string[]; readonly wrong: number },
): Verdict[] {
  const small = outcomes.filter(({ kind, atMs }) => kind === SMALL_FETCH && atMs >= spans.warmMs)
  const failed = small.filter(({ failure }) => failure !== '').length
  const p99s = windowed(small, spans).map((window) =>
    quantile(
      window.map(({ ms }) => ms),
      0.99,
    ),
  )
  const floors = windowed(
    outcomes.filter(({ kind }) => kind === FLOOR),
    spans,
  ).map((window) =>
    quantile(
      window.map(({ ms }) => ms),
      0.99,
    ),
  )
  const own = trend(p99s)
  const toFloor = trend(p99s.map((ms, window) => ms / floors[window]!))
  return [
    growth('live memory does not grow', samples, spans, ({ liveBytes }) => liveBytes),
    growth('resident memory does not grow', samples, spans, ({ rssBytes }) => rssBytes),
    handles('no handle leaks', samples, spans, (sample) => sample.handles),
    timers(samples, spans),
    {
      what: 'no process ends by itself, no fault, no unhandled rejection',
      holds: deaths.length === 0 && faults.length === 0,
      figures: [...deaths, ...faults].slice(0, 3).join('; ') || 'none',
    },
    { what: 'no wrong byte', holds: wrong === 0, figures: `${wrong} of ${outcomes.length}` },
    {
      what: 'p99 of small fetches does not rise',
      holds: [...p99s, ...floors].every(Number.isFinite) && !(rises(own) && rises(toFloor)),
      figures: `${whole(p99s)} ms, ${told(own)}; floor ${whole(floors)} ms; to it ${told(toFloor)}`,
    },
    {
      what: 'small fetches come, whoever is killed',
      holds: small.length > 0 && failed <= FAILED_MAX * small.length,
      figures: `${failed} of ${small.length} failed`,
    },
  ]
}

/** The kind of outcome whose latency is promised, and that of what the machine gives (`floor.ts`). */
export const SMALL_FETCH = 'small fetch'
export const FLOOR = 'floor'

interface Trend {
  readonly chance: number
  readonly rise: number
}

function rises({ chance, rise }: Trend): boolean {
  return chance < RISE_CHANCE && rise > RISE_MAX
}

function told({ chance, rise }: Trend): string {
  return `${percent(rise)} (chance ${chance.toFixed(2)})`
}

function whole(values: readonly number[]): string {
  return values.map((value) => Math.round(value)).join(' ')
}

/** The sum over all processes that were there throughout: what one keeps for another's sake is no growth. Each is told. */
function growth(what: string, samples: readonly Sample[], spans: Spans, of: (sample: Sample) => number): Verdict {
  const all = courses(samples, spans, (some) => quantile(some.map(of), 0.5))
  const from = all.reduce((sum, course) => sum + course.from, 0)
  const to = all.reduce((sum, course) => sum + course.to, 0)
  const each = all.map((course) => `node ${course.node} ${mib(course.from)} → ${mib(course.to)}`).join(', ')
  return {
    what,
    holds: all.length > 0 && to <= from * (1 + GROWTH_MAX),
    figures: `${percent(to / from - 1)} of ${mib(from)} MiB (${each})`,
  }
}

/** By the least of a window: connections come and go, what has leaked stays. */
function handles(what: string, samples: readonly Sample[], spans: Spans, of: (sample: Sample) => number): Verdict {
  const all = courses(samples, spans, (some) => Math.min(...some.map(of)))
  const holds = all.length > 0 && all.every(({ from, to }) => to <= from + HANDLES_MAX)
  return { what, holds, figures: all.map(({ node, from, to }) => `node ${node} ${from} → ${to}`).join(', ') }
}

/** Timers go with the loops and sessions of the moment: what has leaked is also seen in the course of all windows. */
function timers(samples: readonly Sample[], spans: Spans): Verdict {
  const verdict = handles('no timer leaks', samples, spans, (sample) => sample.timers)
  const leaks = courses(samples, spans, (some) => Math.min(...some.map((sample) => sample.timers))).filter(
    ({ node, from, to }) => {
      const own = samples.filter((sample) => sample.node === node)
      const least = windowed(own, spans).map((window) => Math.min(...window.map((sample) => sample.timers)))
      return to > from + HANDLES_MAX && rises(trend(least))
    },
  )
  return { ...verdict, holds: verdict.figures !== '' && leaks.length === 0 }
}

function mib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1)
}

function percent(share: number): string {
  return `${share >= 0 ? '+' : ''}${(100 * share).toFixed(1)} %`
}
