"""What else users ask volumes for; queries about these find nothing unless they are taught."""

from __future__ import annotations

OTHER_STRUCTURES = (
    "abdominal aorta", "adrenal gland", "airway", "amygdala", "aneurysm", "ankle", "aorta",
    "appendix", "arachnoid cyst", "artery", "atrium", "autochthonous back muscle",
    "basal ganglia", "bladder", "bleeding", "bone", "bowel", "brain", "brain stem", "brainstem",
    "breast", "bronchus", "bulla", "carotid artery", "cartilage", "caudate nucleus", "cerebellum",
    "cerebral cortex", "cerebrospinal fluid", "clavicle", "colon", "common bile duct",
    "corpus callosum", "cyst", "disc", "duodenum", "edema", "embolism", "esophagus", "eye", "fat",
    "femur", "fibula", "frontal lobe", "gallbladder", "globus pallidus", "gluteus maximus",
    "gray matter", "heart", "haemorrhage", "hematoma", "hernia", "hip", "humerus",
    "hydrocephalus", "hypothalamus", "iliac artery", "iliopsoas", "infarct", "inferior vena cava",
    "inner ear", "insula", "intervertebral disc", "ischemia", "jaw", "kidney", "kidney cyst",
    "kidney stone", "knee", "lacrimal gland", "larynx", "lateral ventricle", "left atrium",
    "left kidney", "left lung lobe", "lens", "lesion", "liver", "liver metastasis", "liver tumor",
    "lumbar vertebra", "lung", "lung nodule", "lymph node", "mandible", "meningioma", "meniscus",
    "metastasis", "multiple sclerosis lesion", "muscle", "myocardium", "nasal cavity", "nerve",
    "nodule", "occipital lobe", "optic nerve", "orbit", "ovary", "pancreas", "pancreatic cyst",
    "parietal lobe", "parotid gland", "pelvis", "pericardium", "pineal gland", "pituitary gland",
    "plaque", "pleural effusion", "pneumothorax", "pons", "portal vein", "prostate",
    "pulmonary vein", "putamen", "rectum", "renal mass", "rib", "right kidney", "right ventricle",
    "sacrum", "scapula", "sinus", "skull", "small bowel", "spinal cord", "spleen", "sternum",
    "stomach", "stroke", "submandibular gland", "substantia nigra", "temporal lobe", "testis",
    "thalamus", "thrombus", "thymus", "thyroid", "thyroid gland", "tibia", "tongue", "tooth",
    "trachea", "tumor core", "ureter", "urinary bladder", "uterus", "vein", "ventricle",
    "ventricles", "vertebra", "vocal cord", "white matter", "white matter lesion", "wrist",
)  # fmt: skip
