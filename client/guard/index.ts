/** The share guard: what would go out, and what of it is usually private. For everything that publishes, command and API alike. */
export { CONFIRMATION_MS, CONFIRMATIONS_MAX, Confirmations } from './confirmations.ts'
export { FILE_BYTES_MAX, type GuardRules, guarded, guardedFiles, type OddEntry } from './guarded.ts'
export { type Finding, GuardObjection, type ListedFile, type Listing, type Severity, shown } from './listing.ts'
export { contentOf, SURVEY_FILES_MAX, type Survey, type SurveyedFile, type SurveyOptions, survey } from './survey.ts'
