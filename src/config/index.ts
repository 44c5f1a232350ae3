/** Public face of the configuration: one schema, read once at start into a frozen object. Keys and defaults: README, `schema.ts`. */
export { BOOTSTRAP_FILE_WAIT_MS, resolveBootstrap } from './bootstrap.ts'
export { type ConfigSources, defaultConfig, defaultDataDir, loadConfig } from './load.ts'
export {
  CLOCKS,
  type ClockName,
  COVERS,
  type Config,
  type Cover,
  DEFAULT_CLOCK,
  KEYS,
  type Key,
  LOG_LEVELS,
  LOOP_RATES,
  type LogLevel,
  shownFallback,
  variableOf,
} from './schema.ts'
export {
  type ApiAt,
  formatApiAt,
  formatHostPort,
  type HostPort,
  parseApiAt,
  parseBitRate,
  parseBytes,
  parseHostPort,
} from './values.ts'
