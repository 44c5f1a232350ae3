/** Public face of introduction points: where a live service waits and clients leave their first message. Spec: SPEC.md §11.2. */
export {
  AWAIT_MS,
  INTRODUCE_MS,
  INTRODUCTION_LIMITS,
  type IntroductionLimits,
  Introductions,
  POINT_GRACE_MS,
} from './introductions.ts'
export { QUEUED_PER_POINT_MAX, WAITS_PER_POINT_MAX } from './point.ts'
