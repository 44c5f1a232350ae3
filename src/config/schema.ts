/**
 * The one schema of the configuration: each key with its parser, default, unit and meaning. File, environment, flags, help text and
 * the table in the README are all read from here. A key is spelled the same everywhere: `store-quota` in the file, `--store-quota` as a
 * flag, `GYRE_STORE_QUOTA` in the environment.
 */
import {
  type ApiAt,
  type HostPort,
  parseApiAt,
  parseBitRate,
  parseBootstrap,
  parseBytes,
  parseHostPort,
  parseList,
  parseListenAddress,
  parseNetworkName,
  parseOneOf,
  parsePath,
  parseWhole,
  parseWholeOr,
} from './values.ts'

/** Log levels, quietest first. */
export const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** When cells leave: as they are needed, or by time alone with as many loops as are wanted, or by time alone with always as many. */
export const CLOCKS = ['swift', 'steady', 'fixed'] as const
/** The clock of every node, test network and request that names none. */
export const DEFAULT_CLOCK: ClockName = 'steady'
export type ClockName = (typeof CLOCKS)[number]

/** How much goes round while nothing is asked, each about twice the one before. */
export const COVERS = ['low', 'medium', 'high'] as const
export type Cover = (typeof COVERS)[number]

/** Rates of a loop in cells a second, as text: those of the protocol's ladder. */
export const LOOP_RATES = ['8', '32', '128', '512', '2048', '8192'] as const

export const METRICS_ACCESS = ['token', 'open'] as const
export type MetricsAccess = (typeof METRICS_ACCESS)[number]

/** The whole configuration of a node, read once at start and frozen. */
export interface Config {
  /** The folder that holds everything of this node: identity, store, token. An absolute path. */
  readonly dataDir: string
  /** Multiaddrs to accept links on, without /p2p. None: this node only dials. */
  readonly listen: readonly string[]
  /** Multiaddrs with /p2p of nodes to learn the directory from, and `file:PATH` entries: see `resolveBootstrap`. */
  readonly bootstrap: readonly string[]
  readonly api: ApiAt
  /** Who may read `/metrics`: `token`: holders of one; `open`: everybody who reaches the API. */
  readonly metrics: MetricsAccess
  readonly proxy: HostPort
  readonly socks: HostPort
  /** Networks of different names never mix. */
  readonly network: string
  /** Most bytes of other people's shares kept on disk. */
  readonly storeQuotaBytes: number
  readonly clock: ClockName
  /** For the clocks `steady` and `fixed`. */
  readonly cover: Cover
  /** For the clock `fixed`: loops at any time, and the cells a second of each, of `LOOP_RATES`. */
  readonly fixedLoops: number
  readonly fixedRate: number
  /** For the clocks `steady` and `fixed`: how long every member keeps a cell, at least, in milliseconds; `null`: by the network's size. */
  readonly holdMs: number | null
  /** Bits a second that this node's line carries each way. */
  readonly bandwidth: number
  readonly logLevel: LogLevel
  /** Links that this node chooses and opens itself. */
  readonly neighbours: number
  /** Links that it accepts from nodes that chose it. */
  readonly acceptNeighbours: number
  /** Where this node writes the addresses at which it can be dialled, one a line, for `bootstrap` of others. An absolute path. */
  readonly addressFile: string
}

/** One key of the schema. */
export interface Key<Field extends keyof Config = keyof Config> {
  /** As in the file and, behind `--`, as a flag. */
  readonly name: string
  readonly field: Field
  readonly parse: (value: unknown) => Config[Field]
  /** As text, parsed like any other; `null`: a path that `load.ts` computes, told by `shownFallback`. */
  readonly fallback: string | null
  /** For help and README. */
  readonly takes: string
  readonly meaning: string
  /** Whether its flag may be given several times. */
  readonly several: boolean
}

function key<Field extends keyof Config>(
  name: string,
  field: Field,
  parse: (value: unknown) => Config[Field],
  rest: { readonly fallback: string | null; readonly takes: string; readonly meaning: string; readonly several?: boolean },
): Key {
  return Object.freeze({ several: false, ...rest, name, field, parse }) as Key
}

/** Default of `address-file`, within the data folder. */
export const ADDRESS_FILE = 'listen.addrs'

// Implementation constants.
const LISTEN_MAX = 8
const BOOTSTRAP_MAX = 64
const NEIGHBOURS_MAX = 16
const FIXED_LOOPS_MAX = 32
/** As in SPEC.md §4.3.3. */
const HOLD_MIN_MS = 5
const HOLD_MAX_MS = 1_000
/** In place of milliseconds. */
const HOLD_BY_SIZE = 'auto'

/** Every key, in the order of the help text. */
export const KEYS: readonly Key[] = Object.freeze([
  key('data-dir', 'dataDir', parsePath, { fallback: null, takes: 'DIR', meaning: 'folder of identity, store and token' }),
  key('listen', 'listen', parseList(parseListenAddress, LISTEN_MAX), {
    fallback: '/ip4/127.0.0.1/tcp/9740',
    takes: 'MULTIADDR',
    meaning: 'where to accept links; several allowed',
    several: true,
  }),
  key('bootstrap', 'bootstrap', parseList(parseBootstrap, BOOTSTRAP_MAX), {
    fallback: '',
    takes: 'MULTIADDR',
    meaning: 'nodes to learn the network from, with /p2p, or file:PATH; several allowed',
    several: true,
  }),
  key('api', 'api', parseApiAt, {
    fallback: '127.0.0.1:9770',
    takes: 'HOST:PORT',
    meaning: 'where the API listens: HOST:PORT, or unix:PATH for a socket file',
  }),
  key('metrics', 'metrics', parseOneOf(METRICS_ACCESS), {
    fallback: 'token',
    takes: 'ACCESS',
    meaning: 'who may read /metrics: token, or open',
  }),
  key('proxy', 'proxy', parseHostPort, {
    fallback: '127.0.0.1:9780',
    takes: 'HOST:PORT',
    meaning: 'where the HTTP proxy listens',
  }),
  key('socks', 'socks', parseHostPort, {
    fallback: '127.0.0.1:9790',
    takes: 'HOST:PORT',
    meaning: 'where the SOCKS5 proxy listens',
  }),
  key('network', 'network', parseNetworkName, { fallback: 'main', takes: 'NAME', meaning: 'which network; networks never mix' }),
  key('store-quota', 'storeQuotaBytes', parseBytes, {
    fallback: '10GiB',
    takes: 'SIZE',
    meaning: "most disk for other people's shares, such as 10GiB",
  }),
  key('clock', 'clock', parseOneOf(CLOCKS), {
    fallback: DEFAULT_CLOCK,
    takes: 'CLOCK',
    meaning: 'when cells leave: swift (as needed), steady or fixed (by time alone)',
  }),
  key('cover', 'cover', parseOneOf(COVERS), {
    fallback: 'medium',
    takes: 'COVER',
    meaning: 'steady, fixed: what goes round while nothing is asked: low, medium, high',
  }),
  key('fixed-loops', 'fixedLoops', parseWhole(1, FIXED_LOOPS_MAX), {
    fallback: '4',
    takes: 'N',
    meaning: 'fixed: loops at any time',
  }),
  key('fixed-rate', 'fixedRate', (value) => Number(parseOneOf(LOOP_RATES)(String(value))), {
    fallback: '128',
    takes: 'CELLS',
    meaning: 'fixed: cells a second of each loop: 8, 32, 128, 512, 2048 or 8192',
  }),
  key('hold', 'holdMs', parseWholeOr(HOLD_BY_SIZE, HOLD_MIN_MS, HOLD_MAX_MS), {
    fallback: HOLD_BY_SIZE,
    takes: 'MS',
    meaning:
      'steady, fixed: milliseconds that each member keeps a cell; the same in all of a network, more where machines are busy; auto: by its size',
  }),
  key('bandwidth', 'bandwidth', parseBitRate, {
    fallback: '200Mbit',
    takes: 'RATE',
    meaning:
      'what the line carries each way, a second, such as 50Mbit; steady and fixed loops, own and relayed, take four fifths at most',
  }),
  key('log-level', 'logLevel', parseOneOf(LOG_LEVELS), { fallback: 'info', takes: 'LEVEL', meaning: LOG_LEVELS.join(', ') }),
  key('neighbours', 'neighbours', parseWhole(1, NEIGHBOURS_MAX), {
    fallback: '4',
    takes: 'N',
    meaning: 'links that this node chooses',
  }),
  key('accept-neighbours', 'acceptNeighbours', parseWhole(0, NEIGHBOURS_MAX), {
    fallback: '8',
    takes: 'N',
    meaning: 'links accepted from nodes that chose this one',
  }),
  key('address-file', 'addressFile', parsePath, {
    fallback: null,
    takes: 'FILE',
    meaning: 'where to write the addresses to dial this node at; others name it as bootstrap file:FILE',
  }),
])

/** A key's default, for people. */
export function shownFallback({ name, fallback }: Key): string {
  if (fallback === null) return name === 'data-dir' ? '~/.gyre' : `DIR/${ADDRESS_FILE}`
  return fallback === '' ? 'none' : fallback
}

/** Name of a key's environment variable. */
export function variableOf(name: string): string {
  return `GYRE_${name.toUpperCase().replaceAll('-', '_')}`
}
