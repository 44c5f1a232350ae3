/** Public face of live services: hosting them and connecting to them. Spec: SPEC.md §11. */
export { Connector, type ConnectorDeps } from './connector.ts'
export { LiveServices, type OwnLoops, SERVICES_MAX, type ServicesDeps } from './services.ts'
export type { MakeSession } from './sessions.ts'
