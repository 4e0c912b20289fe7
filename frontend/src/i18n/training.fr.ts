import type { trainingEn } from './training.en'

function plural(n: number, one: string, many: string): string {
  return `${n} ${Math.abs(n) < 2 ? one : many}`
}

export const trainingFr: typeof trainingEn = {
  title: 'Entraînement',
  lead: 'Apprenez des signes à SignFlow à partir d’enregistrements de ce serveur, et voyez ce que cela donne avec des personnes qu’il n’a jamais vues.',
  operatorLead:
    'Un entraînement occupe cet ordinateur pendant des minutes ou des heures\u00a0: il est réservé à la personne qui gère le serveur.',
  tokenButton: 'Continuer',
  missing: 'L’entraînement n’est pas installé sur ce serveur.',
  missingHow: 'Dans le dossier de SignFlow, lancez cette commande, puis redémarrez le serveur\u00a0:',
  missingList: (names) => `Il manque\u00a0: ${names}`,
  newTitle: 'Nouvel entraînement',
  sessionsTitle: 'Entraînements',
  noSessions: 'Rien n’a encore été entraîné depuis cette page. Choisissez des enregistrements ci-dessus, puis lancez.',
  listFailed: 'La liste n’a pas pu être chargée.',
  back: 'Tous les entraînements',
  data: {
    legend: 'Enregistrements',
    none: 'Aucun enregistrement pour l’instant.',
    noneHow: 'Placez des jeux de données (.npz) dans ce dossier du serveur, puis actualisez\u00a0:',
    again: 'Actualiser',
    about: (clips, people, signs) =>
      `${plural(clips, 'clip', 'clips')}, ${plural(people, 'personne', 'personnes')}, ${plural(signs, 'signe', 'signes')}`,
    unusable: 'inutilisable',
    folder: 'Dossier du serveur',
    all: 'Tout choisir',
    noneChosen: 'Ne rien choisir',
  },
  recipe: {
    label: 'Recette',
    option: (name, steps) => `${name} (${plural(steps, 'étape', 'étapes')})`,
    about: {
      starter: 'Celle du modèle fourni avec SignFlow. Un bon choix.',
      trial:
        'Un réseau minuscule en une ou deux minutes\u00a0: montre si les enregistrements peuvent être appris, pas à quel point.',
      reference: 'La mesure de base à laquelle les autres recettes sont comparées.',
      baseline: 'Un transformeur d’environ 2 millions de paramètres. Plus lent.',
      large: 'Un transformeur d’environ 11 millions de paramètres. Beaucoup plus lent.',
      spatial: 'Lit le squelette comme un graphe d’articulations. Plus lent.',
      spatial_tcn:
        'Le graphe d’articulations, les signes de toute longueur étant ramenés à un nombre fixe de morceaux. Plus lent.',
      student: 'Un petit réseau pour les petits appareils.',
      'starter+length': 'Comme starter, les signes courts d’abord.',
      'starter+confidence': 'Comme starter, ce que le modèle trouve facile d’abord.',
      'student+distilled': 'Le petit réseau, instruit par un plus grand, entraîné avant lui. Beaucoup plus lent.',
    },
  },
  heldOut: {
    legend: 'Qui le juge',
    hint: 'Les clips de ces personnes restent hors de l’entraînement et servent à juger le modèle. Sans personne, nul ne sait ce qu’il vaut avec de nouvelles personnes.',
    choose: 'Choisissez d’abord des enregistrements.',
    unnamed: 'sans nom',
    everybody: 'Gardez au moins une personne pour apprendre.',
  },
  language: {
    label: 'Langue des signes',
    hint: 'Les enregistrements d’une autre langue des signes n’apprennent que ce qui n’est pas un signe.',
  },
  advanced: {
    title: 'Autres réglages',
    steps: 'Étapes',
    stepsHint: (steps) => `Vide\u00a0: ${steps}, comme le dit la recette.`,
    seed: 'Graine',
    seedHint: 'Mêmes données, même graine, même ordinateur\u00a0: même modèle.',
  },
  summary: (signs, learn, judge) =>
    `Apprend ${plural(signs, 'signe', 'signes')} de ${plural(learn, 'personne', 'personnes')}\u202f; ` +
    (judge === 0
      ? 'personne ne le juge.'
      : `${plural(judge, 'personne', 'personnes')} ${judge === 1 ? 'le juge' : 'le jugent'}.`),
  start: 'Lancer l’entraînement',
  startFailed: 'L’entraînement n’a pas été lancé.',
  status: {
    queued: 'En attente',
    running: 'En cours',
    finished: 'Terminé',
    failed: 'Échoué',
    cancelled: 'Annulé',
    lost: 'Interrompu',
    cancelling: 'Arrêt…',
  },
  phase: {
    preparing: 'Lecture des enregistrements',
    pretraining: 'Préentraînement sans étiquettes',
    training: 'Apprentissage',
    evaluating: 'Jugement sur les personnes tenues à l’écart',
    exporting: 'Écriture des fichiers du modèle',
  },
  waiting: {
    process: 'Commence tout de suite, ou dès qu’un entraînement en cours est terminé.',
    celery:
      'Commence dès qu’un processus d’entraînement est libre. Sur une machine qui doit entraîner, «\u00a0make worker\u00a0» en lance un.',
  },
  progress: (step, steps) => `Étape ${step} sur ${steps}`,
  eta: {
    soon: 'il reste moins d’une minute',
    minutes: (minutes) => `il reste environ ${plural(minutes, 'minute', 'minutes')}`,
    hours: (hours, minutes) => `il reste environ ${hours} h ${minutes} min`,
  },
  resumedFrom: (step) =>
    step === 0
      ? 'Recommencé\u00a0: il s’était arrêté avant que sa première étape soit gardée.'
      : `Repris à l’étape ${step}.`,
  cancel: 'Annuler',
  resume: 'Reprendre',
  delete: 'Supprimer',
  deleteSure: 'Vraiment supprimer\u202f?',
  deleteKeeps: 'Les fichiers du modèle restent sur le serveur.',
  actionFailed: 'Cela n’a pas fonctionné.',
  failure: {
    words: 'Le serveur précise (en anglais)\u00a0:',
    unreachable: 'Le serveur ne répond pas. Vérifiez qu’il est lancé, puis réessayez.',
    unknown: 'Une erreur s’est produite sur le serveur. Son journal dit laquelle.',
    kinds: {
      not_found: 'Cela n’existe pas, ou a été supprimé\u202f; rechargez la page.',
      not_allowed: 'Le jeton d’opérateur n’a pas été accepté. Rechargez la page et saisissez-le de nouveau.',
      invalid_input: 'Un élément de cette demande ne peut pas être utilisé. Changez ce que le serveur indique.',
      wrong_state: 'Ce n’est pas possible dans son état actuel. Rechargez la page pour voir cet état.',
      limit_reached: 'Le serveur en garde déjà autant qu’il peut. Supprimez-en, puis réessayez.',
      training_unavailable: 'Un entraînement ne peut pas être lancé sur ce serveur pour le moment.',
      no_model: 'Le serveur n’a pas de modèle de reconnaissance.',
      busy: 'Le serveur est complet. Réessayez dans un instant.',
    },
  },
  connection: {
    connecting: 'Interrogation du serveur…',
    reconnecting: 'Connexion perdue. Nouvel essai en cours\u202f; l’entraînement, lui, continue.',
    gone: 'Cet entraînement n’existe pas. Il a peut-être été supprimé.',
  },
  ended: {
    failed: 'L’entraînement n’a pas pu aller au bout.',
    failedHow: 'Corrigez ce qui est indiqué, puis reprenez\u00a0: il continue depuis son dernier point de sauvegarde.',
    lost: 'Le processus d’entraînement s’est arrêté.',
    lostHow: 'Ce qu’il avait enregistré est conservé\u00a0: la reprise part de son dernier point de sauvegarde.',
    cancelled: 'Cet entraînement a été annulé.',
    cancelledHow: 'La reprise part de son dernier point de sauvegarde.',
  },
  curves: {
    title: 'Courbes',
    loss: 'Perte',
    accuracy: 'Réussite sur les personnes tenues à l’écart',
    step: 'Étape',
    none: 'Les premiers points apparaissent avec les premières étapes.',
    now: (loss, step) => `Perte ${loss} à l’étape ${step}`,
    nowAccuracy: (percent) => `réussite sur les personnes tenues à l’écart ${percent}\u00a0%`,
  },
  result: {
    title: 'Résultat',
    accuracy: (percent, clips) => `${percent}\u00a0% de ${clips} clips justes, de personnes qu’il n’a jamais vues.`,
    unjudged:
      'Personne n’a été tenu à l’écart\u00a0: on ne sait donc rien de ce qu’il vaut avec de nouvelles personnes.',
    people: 'Par personne',
    person: 'Personne',
    right: 'Justes',
    clips: 'Nombre de clips',
    confusions: 'Souvent pris pour un autre signe',
    confusion: (label, predicted, count) => `${label} pris pour ${predicted}, ${count} fois`,
    learned: (signs, clips, minutes) =>
      `${plural(signs, 'signe appris', 'signes appris')} de ${clips} clips en ${minutes} min.`,
    copies: (n) => plural(n, 'clip était une copie d’un autre.', 'clips étaient des copies d’autres.'),
    leftOut: (n) =>
      plural(
        n,
        'enregistrement était inutilisable et a été écarté.',
        'enregistrements étaient inutilisables et ont été écartés.',
      ),
    leftOutMore: (n) => `et ${n} autres, que nomme le journal de la session sur le serveur`,
    files: 'Fichiers du modèle',
    download: (name) => `Télécharger ${name}`,
    downloadFailed: 'Le fichier n’a pas pu être récupéré.',
    activate: 'Pas encore utilisé. Pour l’utiliser, lancez ceci sur le serveur et redémarrez SignFlow\u00a0:',
    copy: 'Copier la commande',
    copied: 'Copié',
    data: 'Empreinte des données',
    revision: 'Révision du code',
    tracking: 'Exécution MLflow',
    trackingHow: '«\u00a0make mlflow\u00a0» montre toutes les exécutions enregistrées.',
    trackingProblem: 'Cet entraînement n’est pas entièrement enregistré dans MLflow.',
  },
  facts: {
    title: 'Ce qui a été demandé',
    recordings: 'Enregistrements',
    recipe: 'Recette',
    heldOut: 'À l’écart',
    nobody: 'personne',
    language: 'Langue des signes',
    seed: 'Graine',
    began: 'Mis en attente',
    attempt: 'Tentatives',
  },
}
