/**
 * All questions that the lab asks of the digests of its runs: the six pairs and the four-way task, what is behind them, linking, the insider's view,
 * and the negative control. Deterministic by seed.
 */
import type { SeededRng } from '../support/seeded-rng.ts'
import { forest } from './classify/forest.ts'
import { logistic } from './classify/logistic.ts'
import type { Digest, RoleSample } from './digest.ts'
import { evaluate, fromHats, type Sample, type Shuffled, type TaskResult } from './evaluate.ts'
import type { Role } from './labels.ts'
import type { Pairs } from './linking.ts'
import { LIKENESS_NAMES } from './series.ts'
import { areaUnder, lowerBound, truePositivesAt, upperBound } from './statistics.ts'

/** Classes of the main tasks. */
const CLASSES: Readonly<Record<string, readonly Role[]>> = {
  serve: ['serve-live', 'serve-store'],
  receive: ['receive'],
  relay: ['relay'],
  idle: ['idle'],
}

/** Pairs behind the six: what a worst pair is made of. */
const FURTHER: readonly (readonly [Role, Role])[] = [
  ['serve-live', 'receive'],
  ['serve-store', 'receive'],
  ['publish', 'receive'],
  ['relay', 'serve-live'],
  ['relay', 'serve-store'],
  ['relay', 'publish'],
  ['relay', 'hold'],
  ['relay', 'meet'],
]

/** The first is the control; the others show where relays come to lie. */
const ONE_WAY: readonly (readonly [Role, Role])[] = [
  ['serve-live', 'receive'],
  ['serve-store', 'receive'],
  ['relay', 'receive'],
  ['relay', 'serve-live'],
]

/** Pairs of which it is asked what places tell: of roles that others give a node. */
const PLACED: readonly (readonly [string, readonly Role[], Role])[] = [
  ['serve', ['serve-live', 'serve-store'], 'receive'],
  ['serve-store', ['serve-store'], 'receive'],
  ['relay', ['relay'], 'receive'],
  ['relay', ['relay'], 'meet'],
]

export interface Linking {
  readonly what: string
  readonly pairs: number
  /** By likeness alone. */
  readonly auc: number
  /** True positives at one false positive in a thousand; with fewer than 1,000 negatives: at none. */
  readonly truePositives: number
  /** Of a classifier on all features of a pair. */
  readonly task: TaskResult | null
}

export interface Posterior {
  /** Circuits in windows, and how many of them come from the origin. */
  readonly circuits: number
  readonly base: number
  /** The tenth that looks most like it: how many of them do. */
  readonly top: number
  readonly topTrue: number
  readonly value: number
  readonly lower: number
  readonly upper: number
  readonly loopLength: number
  readonly task: TaskResult | null
}

export interface Verdicts {
  readonly pairs: readonly TaskResult[]
  readonly fourWay: TaskResult | null
  readonly further: readonly TaskResult[]
  readonly sizes: readonly TaskResult[]
  readonly hosting: TaskResult | null
  /** Labels from several hats, their counts added. */
  readonly shuffled: readonly Shuffled[]
  /** Pairs of windows from which cells without content were taken out. */
  readonly oneWay: readonly TaskResult[]
  /** What nodes' places tell, whatever they do: pairs with each node's nearest idle window in place of its own, and by circuits that passed before alone. */
  readonly placebo: readonly TaskResult[]
  /** The worst pair by each group of features alone. */
  readonly groups: readonly { readonly task: string; readonly group: string; readonly result: TaskResult }[]
  readonly outside: Linking
  readonly colluding: Linking
  readonly posterior: Posterior
  readonly direction: TaskResult | null
}

/** What tells serving from receiving where cells go one way. */
export const BALANCE: ReadonlySet<string> = new Set([
  'total: balance',
  'cumulative: most in less out',
  'cumulative: least in less out',
])
/** Circuits of the highest scores for which the posterior is told. */
const TOP_SHARE = 0.1
const TOP_MIN = 10
/** Quick learners, where a question is asked many times over. */
const QUICK = [forest({ trees: 40 })]
export const PAIR_LEARNERS = [logistic({ decay: 0.1 }), forest({ trees: 60 })]

export function judge(digests: readonly Digest[], rng: SeededRng, say: (text: string) => void): Verdicts {
  const samples = digests.flatMap(({ roles }) => roles)
  const names = digests[0]?.names ?? []
  const of = (roles: readonly Role[], size?: string) =>
    samples.filter((sample) => roles.includes(sample.role) && (size === undefined || sample.size === size))
  const ask = (task: string, classes: readonly string[], lists: readonly (readonly RoleSample[])[]) => {
    const result = evaluate({ task, classes, samples: matched(lists), names, rng: rng.fork(task) })
    if (result !== null) say(`${task}: ${result.advantage.value.toFixed(3)} on ${result.windows} windows`)
    return result
  }
  const known = Object.keys(CLASSES)
  const couples = known.flatMap((first, at) => known.slice(at + 1).map((second) => [first, second] as const))
  const pairs = couples.flatMap(([a, b]) => ask(`${a} / ${b}`, [a, b], [of(CLASSES[a]!), of(CLASSES[b]!)]) ?? [])
  const fourWay = ask(
    'four-way',
    known,
    known.map((each) => of(CLASSES[each]!)),
  )
  const further = FURTHER.flatMap(([a, b]) => ask(`${a} / ${b}`, [a, b], [of([a]), of([b])]) ?? [])
  const sizes = ['message', 'page', 'bulk'].flatMap(
    (size) =>
      ask(`serve-live / receive, ${size}`, ['serve-live', 'receive'], [of(['serve-live'], size), of(['receive'], size)]) ?? [],
  )
  const idle = of(['idle'])
  const hosting = evaluate({
    task: 'hosts a service / does not, both idle',
    classes: ['hosts', 'does not'],
    samples: [idle.filter(({ host }) => host), idle.filter(({ host }) => !host)],
    names,
    rng: rng.fork('hosting'),
  })
  const worst = [...pairs].sort((a, b) => b.advantage.value - a.advantage.value)[0]
  const told = pairs.find(({ task }) => task === 'serve / receive')
  const controls = [...new Set([told, worst])].flatMap((pair) => pair ?? [])
  const shuffled = controls.flatMap(({ classes: [a, b] }) => {
    const task = `shuffled: ${a} / ${b}`
    const samples = matched([of(CLASSES[a!]!), of(CLASSES[b!]!)])
    const found = fromHats({ task, classes: [a!, b!], samples, names, rng: rng.fork(task) })
    if (found !== null) say(`${task}: ${found.advantage.value.toFixed(3)} on ${found.windows} windows`)
    return found ?? []
  })
  const halved = digests.flatMap(({ oneWayRoles }) => oneWayRoles)
  const halvedOf = (role: Role) => halved.filter((sample) => sample.role === role)
  // By balance alone, as it gives serving away elsewhere: few windows teach nobody to find one feature among all.
  const byBalance = (lists: readonly (readonly RoleSample[])[]) => only(matched(lists), names, (name) => BALANCE.has(name))
  const oneWay = ONE_WAY.flatMap(([a, b]) => {
    const task = `one way: ${a} / ${b}`
    const cut = byBalance([halvedOf(a), halvedOf(b)])
    const result = evaluate({ task, classes: [a, b], ...cut, rng: rng.fork(task), learners: PAIR_LEARNERS })
    if (result !== null) say(`${task}: ${result.advantage.value.toFixed(3)} on ${result.windows} windows`)
    return result ?? []
  })
  const inIdle = idleStandIns(idle)
  const byEqual = (lists: readonly (readonly RoleSample[])[]) =>
    matched(lists).map((list) => list.map((sample) => ({ ...sample, stratum: `${sample.stratum} ${sample.place}` })))
  const placebo = PLACED.flatMap(([name, roles, other]) => {
    const lists = [of(roles), of([other])]
    const task = `${name} / ${other}`
    const placed = lists.map((list) => list.map((sample) => ({ ...sample, values: Float64Array.of(sample.place) })))
    const byPlace = { task: `place alone: ${task}`, classes: [name, other], samples: unplaced(matched(placed)), names: ['place'] }
    return [
      ask(`placebo: ${task}`, [name, other], lists.map(inIdle)) ?? [],
      evaluate({ ...byPlace, rng: rng.fork(byPlace.task), learners: QUICK }) ?? [],
      evaluate({
        task: `equal places: ${task}`,
        classes: [name, other],
        samples: byEqual(lists),
        names,
        rng: rng.fork(`equal ${task}`),
      }) ?? [],
    ].flat()
  })
  const groups = controls.flatMap(({ task, classes: [a, b] }) =>
    byGroup(task, [a!, b!], [of(CLASSES[a!]!), of(CLASSES[b!]!)], names, rng),
  )
  return {
    pairs,
    fourWay,
    further,
    sizes,
    hosting,
    shuffled,
    oneWay,
    placebo,
    groups,
    outside: link(
      'first and last link of a loop, outside',
      digests.map((each) => each.outsidePairs),
      rng,
    ),
    colluding: link(
      'two members that collude',
      digests.map((each) => each.colludingPairs),
      rng,
    ),
    posterior: posteriorOf(digests, rng.fork('posterior')),
    direction: directionOf(digests, rng.fork('direction')),
  }
}

/**
 * Windows are compared with windows of the same kind of scene and of nodes that host a service likewise: what the rest of the network does, and who
 * hosts, must not stand for what a node does. Nor must where it is: who relays and is asked nothing has fewer circuits than others, before the window too
 * (FINDINGS.md), so `balanced` takes those with as many. Idle windows have a scene of their own, so where they are one of the classes scenes cannot be matched.
 */
export function matched(lists: readonly (readonly RoleSample[])[]): readonly (readonly RoleSample[])[] {
  const withIdle = lists.some((list) => list.some(({ role }) => role === 'idle'))
  return lists.map((list) =>
    list.map((sample) => ({ ...sample, stratum: `${sample.host ? 'host' : 'other'}${withIdle ? '' : ` ${sample.scene}`}` })),
  )
}

/** Samples that are not matched by place. */
function unplaced(lists: readonly (readonly RoleSample[])[]): Sample[][] {
  return lists.map((list) => list.map(({ place: _, ...sample }) => sample))
}

/** Samples with the values of their node's idle window that is nearest in time; those of nodes that have none are left out. */
function idleStandIns(idle: readonly RoleSample[]): (samples: readonly RoleSample[]) => readonly RoleSample[] {
  return (samples) =>
    samples.flatMap((sample) => {
      const own = idle.filter(({ run, node }) => run === sample.run && node === sample.node)
      const far = ({ window }: RoleSample) => Math.abs(window - sample.window)
      const [nearest] = own.sort((a, b) => far(a) - far(b))
      return nearest === undefined ? [] : { ...sample, values: nearest.values }
    })
}

/** Samples with the features that are kept alone, and those features' names. */
export function only<S extends Sample>(
  lists: readonly (readonly S[])[],
  names: readonly string[],
  keep: (name: string) => boolean,
): { readonly samples: readonly (readonly S[])[]; readonly names: readonly string[] } {
  const places = names.flatMap((name, at) => (keep(name) ? [at] : []))
  const samples = lists.map((list) =>
    list.map((sample) => ({ ...sample, values: Float64Array.from(places, (at) => sample.values[at]!) })),
  )
  return { samples, names: places.map((at) => names[at]!) }
}

function byGroup(
  task: string,
  classes: readonly string[],
  lists: readonly (readonly RoleSample[])[],
  names: readonly string[],
  rng: SeededRng,
): Verdicts['groups'] {
  const groupOf = (name: string) => name.split(':')[0]!.replace(/ (in|out|\d)$/, '')
  return [...new Set(names.map(groupOf))].flatMap((group) => {
    const result = evaluate({
      task: `${task}, ${group}`,
      classes,
      ...only(matched(lists), names, (name) => groupOf(name) === group),
      rng: rng.fork(group),
      learners: QUICK,
    })
    return result === null ? [] : [{ task, group, result }]
  })
}

function link(what: string, all: readonly Pairs[], rng: SeededRng): Linking {
  const same = all.flatMap((pairs) => pairs.same)
  const other = all.flatMap((pairs) => pairs.other)
  const scores = [...same, ...other].map(({ values }) => values[0]!)
  const positive = [...same.map(() => true), ...other.map(() => false)]
  const task = evaluate({
    task: what,
    classes: ['other', 'same'],
    samples: [other, same],
    names: LIKENESS_NAMES,
    rng: rng.fork(what),
    learners: PAIR_LEARNERS,
  })
  return {
    what,
    pairs: same.length,
    auc: areaUnder(scores, positive),
    truePositives: truePositivesAt(1e-3, scores, positive),
    task,
  }
}

function posteriorOf(digests: readonly Digest[], rng: SeededRng): Posterior {
  const positive = digests.flatMap(({ insider }) => insider.afterOrigin)
  const negative = digests.flatMap(({ insider }) => insider.elsewhere)
  const names = digests[0]?.insider.names ?? []
  const circuits = positive.length + negative.length
  const task = evaluate({
    task: 'insider: the predecessor is the origin',
    classes: ['elsewhere', 'after the origin'],
    samples: [thin(negative, 4000, rng), thin(positive, 1000, rng)],
    names,
    rng,
    unbalanced: true,
    learners: [forest({ trees: 60 })],
  })
  const ranked = [...(task?.scores ?? [])].sort((a, b) => b.score - a.score)
  const top = Math.min(ranked.length, Math.max(TOP_MIN, Math.round(TOP_SHARE * ranked.length)))
  const topTrue = ranked.slice(0, top).filter((each) => each.positive).length
  const lengths = digests.map(({ insider }) => insider.loopLength)
  return {
    circuits,
    base: circuits === 0 ? 0 : positive.length / circuits,
    top,
    topTrue,
    value: top === 0 ? 0 : topTrue / top,
    lower: lowerBound(topTrue, top),
    upper: upperBound(topTrue, top),
    loopLength: lengths.length === 0 ? 0 : lengths.reduce((sum, each) => sum + each, 0) / lengths.length,
    task,
  }
}

function directionOf(digests: readonly Digest[], rng: SeededRng): TaskResult | null {
  return evaluate({
    task: 'insider: which way content moves',
    classes: ['to the origin', 'from the origin'],
    samples: [
      thin(
        digests.flatMap(({ insider }) => insider.toOrigin),
        3000,
        rng,
      ),
      thin(
        digests.flatMap(({ insider }) => insider.fromOrigin),
        3000,
        rng,
      ),
    ],
    names: digests[0]?.insider.names ?? [],
    rng,
    learners: [logistic({ decay: 0.1 }), forest({ trees: 60 })],
  })
}

/** The same share of each run's samples, at most `most` in all. */
function thin(samples: readonly Sample[], most: number, rng: SeededRng): Sample[] {
  return samples.length <= most ? [...samples] : samples.filter(() => rng.unit() < most / samples.length)
}
